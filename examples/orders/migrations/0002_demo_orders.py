from django.db import migrations

ORDERS = [
    (4, "Pizza Margherita", "ready"),
    (2, "Spaghetti alle vongole", "cooking"),
    (7, "Risotto ai funghi", "cooking"),
    (4, "Tiramisù", "ordered"),
]


def create(apps, schema_editor):
    Order = apps.get_model("orders", "Order")
    for table, dish, status in ORDERS:
        Order.objects.create(table=table, dish=dish, status=status)


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunPython(create, migrations.RunPython.noop)]

import sys
from .servers import site
from .scenarios import SCENARIOS
with site() as s:
    for sc in sys.argv[1].split(","):
        for name in sys.argv[2].split(","):
            S=SCENARIOS[sc]
            if not S.applies(name): continue
            try:
                with s.run(name, S.environment) as up:
                    f=S.measure(up, float(sys.argv[3]), False)
                    print(f"{sc:12} {name:26} ready {up.trees[0].ready:.2f}", {k: round(v,2) for k,v in f.items()}, flush=True)
            except Exception as e:
                print(sc,name,"FAILED",type(e).__name__,str(e)[:1500], flush=True)

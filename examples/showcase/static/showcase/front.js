import "./block.js";
import "./break.js";
import "./edit.js";

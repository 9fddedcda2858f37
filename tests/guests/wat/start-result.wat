;; A `_start` of the wrong type. Wanted: refused, saying so.
(module
  (memory (export "memory") 1)
  (func (export "_start") (result i32) (i32.const 7)))

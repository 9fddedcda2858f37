;; A library: it has no `_start`. Wanted: refused, saying that it is no command.
(module
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1))))

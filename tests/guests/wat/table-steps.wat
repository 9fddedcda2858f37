;; Grows a table until it is refused, then spins on. Wanted: counted as memory, OOMKilled.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func (export "_start")
    (loop $again
      (drop (table.grow $table (ref.null func) (i32.const 65536)))
      (br $again))))

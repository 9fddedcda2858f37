;; Several memories, each grown on its own. Wanted: the limit holds over all of them together.
(module
  (memory $a (export "memory") 1)
  (memory $b 1)
  (memory $c 1)
  (memory $d 1)
  (func (export "_start")
    (loop $again
      (drop (memory.grow $a (i32.const 64)))
      (drop (memory.grow $b (i32.const 64)))
      (drop (memory.grow $c (i32.const 64)))
      (drop (memory.grow $d (i32.const 64)))
      (br $again))))

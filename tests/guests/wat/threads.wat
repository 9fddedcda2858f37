;; A shared memory, as guests of several threads have. Wanted: refused, saying that threads are off.
(module
  (memory (export "memory") 1 2 shared)
  (func (export "_start")))

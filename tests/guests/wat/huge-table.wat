;; A table of 100 million entries from the start. Wanted: counted as memory, refused at the limit.
(module
  (memory (export "memory") 1)
  (table 100000000 funcref)
  (func (export "_start")))

;; Traps at once. Wanted: exit code 134 with the trap's name.
(module
  (memory (export "memory") 1)
  (func (export "_start") unreachable))

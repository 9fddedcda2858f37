;; A start function that traps. Wanted: StartError or a trap told with its reason, never a hang.
(module
  (memory (export "memory") 1)
  (func $trap unreachable)
  (start $trap)
  (func (export "_start")))

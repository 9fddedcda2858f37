;; A start function that never returns: the container is started and never gets to `_start`.
;; Wanted: it can be stopped and killed like any other, and others run meanwhile.
(module
  (memory (export "memory") 1)
  (func $spin (loop $again (br $again)))
  (start $spin)
  (func (export "_start")))

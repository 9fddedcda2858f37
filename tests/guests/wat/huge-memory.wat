;; Asks for 4 GiB from the start. Wanted: over the limit it is OOMKilled or refused with the limit
;; told; without one, no page of it is used.
(module
  (memory (export "memory") 65536)
  (func (export "_start")))

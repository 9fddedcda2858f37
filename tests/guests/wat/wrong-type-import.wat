;; Imports a known function with a wrong type. Wanted: refused with both named.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")))

;; path_open with a name of 64 MiB. Wanted: an errno (name too long) and no memory of the host.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1025)
  (func (export "_start")
    (memory.fill (i32.const 0) (i32.const 97) (i32.const 67108864))
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 67108864)
      (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 67108864)))))

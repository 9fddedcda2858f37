;; Wanted: refused before it starts, with the words that it was built for a draft of WASI 0.3.
(component
  (import "wasi:cli/stdin@0.3.0-rc-2026-01-06"
    (instance (export "read-via-stream" (func (result (stream u8)))))))

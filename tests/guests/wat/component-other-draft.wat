;; A component that imports a draft of wasi:keyvalue that there is not yet. Wanted: refused, naming it
;; and the drafts that there are.
(component
  (import "wasi:keyvalue/store@0.3.0" (instance (export "open" (func)))))

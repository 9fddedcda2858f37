;; A component that imports what nobody provides. Wanted: refused, naming example:bank/vault.
(component
  (import "example:bank/vault@1.0.0" (instance (export "open" (func)))))

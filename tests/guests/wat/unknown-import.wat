;; Imports what nobody provides. Wanted: StartError (CannotRun) that names env::secret.
(module
  (import "env" "secret" (func))
  (memory (export "memory") 1)
  (func (export "_start")))

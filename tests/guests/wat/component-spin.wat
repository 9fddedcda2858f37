;; A component of a command that never returns, without any import. Wanted: ended like any other.
(component
  (core module $spin
    (func (export "run") (result i32) (loop $again (br $again)) (i32.const 0)))
  (core instance $instance (instantiate $spin))
  (func $run (result (result)) (canon lift (core func $instance "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))

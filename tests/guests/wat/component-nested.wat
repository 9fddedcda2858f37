;; A component that instantiates one core module many times. Wanted: the limits of memories and
;; instances hold over all of them.
(component
  (core module $one (memory (export "memory") 160))
  (core instance $a (instantiate $one))
  (core instance $b (instantiate $one))
  (core instance $c (instantiate $one))
  (core instance $d (instantiate $one))
  (core module $main (func (export "run") (result i32) (i32.const 0)))
  (core instance $instance (instantiate $main))
  (func $run (result (result)) (canon lift (core func $instance "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))

;; Makes a list of garbage-collected structs that are all kept. Wanted: counted as memory, OOMKilled.
(module
  (type $node (struct (field (ref null $node)) (field i64) (field i64)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $list (ref null $node))
    (loop $again
      (local.set $list (struct.new $node (local.get $list) (i64.const 1) (i64.const 2)))
      (br $again))))

;; A component without anything. Wanted: refused, saying that it exports no wasi:cli/run.
(component)

//! Components that ask for what is not WASI yet, as their tools spell it.

use wasmtime::component::Component;

use super::*;
use crate::config::{self as engines, Allocation, Kind};

const CONFIG: &str = r#"
    (type $e (variant (case "upstream" string) (case "io" string)))
    (export "NAME" (type $error (eq $e)))
    (export "get" (func (param "key" string)
        (result (result (option string) (error $error)))))
    (export "get-all" (func (result (result (list (tuple string string)) (error $error)))))"#;

const LOGGING: &str = r#"
    (type $l (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "context" string)
        (param "message" string)))"#;

const STORE: &str = r#"
    (type $e (variant (case "no-such-store") (case "access-denied") (case "other" string)))
    (export "error" (type $error (eq $e)))
    (type $r (record (field "keys" (list string)) (field "cursor" (option CURSOR))))
    (export "key-response" (type $response (eq $r)))
    (export "bucket" (type $bucket (sub resource)))
    (export "open" (func (param "identifier" string) (result (result (own $bucket) (error $error)))))
    (export "[method]bucket.get" (func (param "self" (borrow $bucket)) (param "key" string)
        (result (result (option (list u8)) (error $error)))))
    (export "[method]bucket.set" (func (param "self" (borrow $bucket)) (param "key" string)
        (param "value" (list u8)) (result (result (error $error)))))
    (export "[method]bucket.delete" (func (param "self" (borrow $bucket)) (param "key" string)
        (result (result (error $error)))))
    (export "[method]bucket.exists" (func (param "self" (borrow $bucket)) (param "key" string)
        (result (result bool (error $error)))))
    (export "[method]bucket.list-keys" (func (param "self" (borrow $bucket))
        (param "cursor" (option CURSOR)) (result (result $response (error $error)))))"#;

const USES: &str = r#"
    (alias outer $all $b (type $of-store)) (alias outer $all $e (type $error-of-store))
    (export "bucket" (type $bucket (eq $of-store)))
    (export "error" (type $error (eq $error-of-store)))"#;

const INCREMENT: &str = r#"
    (export "increment" (func (param "bucket" (borrow $bucket)) (param "key" string)
        (param "delta" NUMBER) (result (result NUMBER (error $error)))))"#;

const SWAP: &str = r#"
    (export "cas" (type $cas (sub resource)))
    (type $c (variant (case "store-error" $error) (case "cas-failed" (own $cas))))
    (export "cas-error" (type $cas-error (eq $c)))
    (export "[static]cas.new" (func (param "bucket" (borrow $bucket)) (param "key" string)
        (result (result (own $cas) (error $error)))))
    (export "[method]cas.current" (func (param "self" (borrow $cas))
        (result (result (option (list u8)) (error $error)))))
    (export "swap" (func (param "cas" (own $cas)) (param "value" (list u8))
        (result (result (error $cas-error)))))"#;

const BATCH: &str = r#"
    (export "get-many" (func (param "bucket" (borrow $bucket)) (param "keys" (list string))
        (result (result (list (option (tuple string (list u8)))) (error $error)))))
    (export "set-many" (func (param "bucket" (borrow $bucket))
        (param "key-values" (list (tuple string (list u8)))) (result (result (error $error)))))
    (export "delete-many" (func (param "bucket" (borrow $bucket)) (param "keys" (list string))
        (result (result (error $error)))))"#;

/// A component that imports one instance.
fn component(name: &str, body: &str) -> String {
    format!("(component (import \"{name}\" (instance {body})))")
}

/// One that imports the three interfaces of a draft of wasi:keyvalue.
fn keyvalue_component(version: &str, cursor: &str, number: &str, more: &str) -> String {
    let (store, increment) = (
        STORE.replace("CURSOR", cursor),
        INCREMENT.replace("NUMBER", number),
    );
    format!(
        r#"(component $all
            (import "wasi:keyvalue/store@{version}" (instance $store {store}))
            (alias export $store "bucket" (type $b))
            (alias export $store "error" (type $e))
            (import "wasi:keyvalue/atomics@{version}" (instance {USES}{increment}{more}))
            (import "wasi:keyvalue/batch@{version}" (instance {USES}{BATCH})))"#
    )
}

/// Every name that is provided is linked to a component that imports it, in either kind of engine.
#[test]
fn components_of_all_drafts_in_use_are_linked() {
    let mut components: Vec<(Vec<String>, String)> = Vec::new();
    for name in config::INTERFACES {
        let error = if name.contains("runtime") {
            "config-error"
        } else {
            "error"
        };
        components.push((
            vec![name.to_owned()],
            component(name, &CONFIG.replace("NAME", error)),
        ));
    }
    for name in logging::INTERFACES {
        components.push((vec![name.to_owned()], component(name, LOGGING)));
    }
    for (version, cursor, number, more) in [
        ("0.2.0-draft", "u64", "u64", ""),
        ("0.2.0-draft2", "string", "s64", SWAP),
    ] {
        let names = ["store", "atomics", "batch"];
        let names = names.map(|name| format!("wasi:keyvalue/{name}@{version}"));
        assert!(names.iter().all(|name| keyvalue::provides(name)));
        components.push((
            names.into(),
            keyvalue_component(version, cursor, number, more),
        ));
    }
    for kind in [Kind::Sync, Kind::Async] {
        let engine = engines::engine(kind, Allocation::OnDemand).expect("an engine");
        let plain = for_components(&engine, kind).expect("a linker");
        for (imports, text) in &components {
            let wasm = wat::parse_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let component = Component::new(&engine, wasm).expect("a component");
            assert!(plain.instantiate_pre(&component).is_err(), "{imports:?}");
            let linker = with_asked_for(&plain, imports).expect("more");
            let linked = linker.instantiate_pre(&component);
            assert!(linked.is_ok(), "{kind:?} {imports:?}: {:?}", linked.err());
        }
    }
}

#[test]
fn who_asks_for_nothing_gets_the_linker_as_it_is() {
    let engine = engines::engine(Kind::Sync, Allocation::OnDemand).expect("an engine");
    let plain = for_components(&engine, Kind::Sync).expect("a linker");
    let imports = ["wasi:io/poll@0.2.0", "wasmpod:pod/identity@0.1.0"].map(str::to_owned);
    let linker = with_asked_for(&plain, &imports).expect("the same");
    assert!(matches!(linker, Cow::Borrowed(_)));
}

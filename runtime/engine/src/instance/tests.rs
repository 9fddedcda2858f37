//! Which tier holds which component.

use std::fs;

use tempfile::TempDir;
use tokio::runtime::Runtime;
use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::Engine;
use crate::cache::CodePaths;
use crate::config::{self, Allocation, Kind};
use crate::image::ImageError;
use crate::tiers::ON_DEMAND;

/// A command of so many core instances, among which are one memory and these tables.
fn command(core_instances: usize, tables: usize) -> Vec<u8> {
    let with_tables = "(core instance (instantiate $table))".repeat(tables);
    let empty = core_instances - tables - 2;
    let empty = "(core instance (instantiate $empty))".repeat(empty);
    let text = format!(
        r#"(component
            (core module $empty)
            (core module $table (table 10 funcref))
            (core module $memory (memory 1))
            (core module $main (func (export "run") (result i32) (i32.const 0)))
            (core instance (instantiate $memory))
            {with_tables} {empty}
            (core instance $main (instantiate $main))
            (func $run (result (result)) (canon lift (core func $main "run")))
            (instance $command (export "run" (func $run)))
            (export "wasi:cli/run@0.2.0" (instance $command)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_slot_of_a_pool_takes_a_component_as_large_as_any() {
    let runtime = Runtime::new().unwrap();
    for (kind, core_instances) in [(Kind::Sync, 100), (Kind::Async, 8)] {
        let engine = config::engine(kind, Allocation::Pool(3)).unwrap();
        let component = Component::new(&engine, command(core_instances, 4)).unwrap();
        let linker = Linker::new(&engine);
        let mut stores: Vec<_> = (0..3).map(|_| Store::new(&engine, ())).collect();
        for store in &mut stores {
            let made = runtime.block_on(linker.instantiate_async(store, &component));
            assert!(made.is_ok(), "{kind:?}: {:?}", made.err());
        }
    }
}

#[test]
fn what_no_pool_holds_is_on_demand_and_no_pool_is_asked_again() {
    let engine = Engine::start(65_530).unwrap();
    let directory = TempDir::new().unwrap();
    let paths = CodePaths::new(directory.path().to_owned());
    for (kind, core_instances, tables, fits) in [
        // As componentize-py makes them.
        (Kind::Sync, 14, 2, true),
        (Kind::Sync, 101, 2, false),
        (Kind::Sync, 14, 5, false),
        (Kind::Async, 8, 2, true),
        (Kind::Async, 14, 2, false),
    ] {
        let case = format!("{kind:?} {core_instances} {tables}");
        let compiler = config::engine(kind, Allocation::OnDemand).unwrap();
        let code = compiler.precompile_component(&command(core_instances, tables));
        let path = paths.path(&case.replace(' ', "-"), kind);
        fs::write(&path, code.unwrap()).unwrap();
        let image = engine.image(&case, &path).unwrap();
        assert_eq!(image.fits_pools(), fits, "{case}");
        let (slot, _) = engine.place(&image).unwrap();
        assert_eq!(slot.tier.index != ON_DEMAND, fits, "{case}");
    }
}

#[test]
fn what_the_machine_lacks_is_no_word_about_an_image() {
    let engine = Engine::start(65_530).unwrap();
    let directory = TempDir::new().unwrap();
    let paths = CodePaths::new(directory.path().to_owned());
    let path = paths.path("late", Kind::Sync);
    let refused = engine.image("late", &path).err();
    assert!(
        matches!(refused, Some(ImageError::Machine(_))),
        "{refused:?}"
    );
    fs::write(&path, "no code").unwrap();
    let refused = engine.image("late", &path).err();
    assert!(matches!(refused, Some(ImageError::Load(_))), "{refused:?}");
    let compiler = config::engine(Kind::Sync, Allocation::OnDemand).unwrap();
    fs::write(
        &path,
        compiler.precompile_component(&command(3, 1)).unwrap(),
    )
    .unwrap();
    let image = engine.image("late", &path).unwrap();
    assert!(image.fits_pools());
}

//! `wasi:config`: the variables that the pod declares for the container, asked for one by one.
//!
//! A ConfigMap or a Secret that `envFrom` names is thereby what a component finds under its keys.
//! What only the image or the node adds to the environment is not in it.
//!
//! Its drafts have other names for the same two functions, so that they are defined by hand, once,
//! under each of the names.

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower};

use crate::guest::Guest;

/// The names under which components ask for it.
pub(crate) const INTERFACES: [&str; 4] = [
    "wasi:config/store@0.2.0-rc.1",
    "wasi:config/store@0.2.0-draft",
    "wasi:config/store@0.2.0-draft-2024-09-27",
    "wasi:config/runtime@0.2.0-draft",
];

/// Why there would be no answer. There always is one: all of it was read before the start.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(
    dead_code,
    reason = "the type is the interface's, the cases are not ours"
)]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Answer<T> = (Result<T, ConfigError>,);

/// Adds all of them.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap("get", get)?;
        interface.func_wrap("get-all", get_all)?;
    }
    Ok(())
}

fn get(
    store: StoreContextMut<'_, Guest>,
    (key,): (String,),
) -> wasmtime::Result<Answer<Option<String>>> {
    let mut declared = store.data().program.declared_env().iter();
    let found = declared.find(|(name, _)| *name == key);
    Ok((Ok(found.map(|(_, value)| value.clone())),))
}

fn get_all(
    store: StoreContextMut<'_, Guest>,
    (): (),
) -> wasmtime::Result<Answer<Vec<(String, String)>>> {
    Ok((Ok(store.data().program.declared_env().to_vec()),))
}

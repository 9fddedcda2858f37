//! `wasmpod:pod` in the form for guests of WASI 0.3: to be asked to stop is a call that returns.

use wasmtime::component::{Accessor, HasSelf, Linker};

use crate::guest::Guest;
use bindings::wasmpod::pod::lifecycle_async;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "wasmpod:pod/pod-async",
        with: { "wasmpod:pod/identity": crate::wasi::pod::bindings::wasmpod::pod::identity },
        imports: { default: trappable },
        require_store_data_send: true,
    });
}

/// Adds what is not the same in both forms.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    lifecycle_async::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl<T: 'static> lifecycle_async::HostWithStore<T> for HasSelf<Guest> {
    async fn stop_requested(store: &Accessor<T, Self>) -> wasmtime::Result<()> {
        let mut asked = store.with(|mut access| access.get().stop.listen());
        // The sender lives as long as the instance: an error cannot happen before its end.
        let _ = asked.wait_for(|asked| *asked).await;
        Ok(())
    }
}

impl lifecycle_async::Host for Guest {
    fn grace_period(&mut self) -> wasmtime::Result<lifecycle_async::Duration> {
        Ok(self.grace_left())
    }

    fn set_health(&mut self, ready: bool, message: String) -> wasmtime::Result<()> {
        self.tell_health(ready, message);
        Ok(())
    }
}

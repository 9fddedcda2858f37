//! What guests name in their requests to outside: method, scheme, authority and path, each as long as
//! a limit allows. A longer one is refused, as one with wrong characters is.

use std::any::Any;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Resource};
use wasmtime_wasi_http::p2::bindings::http::types as p2;
use wasmtime_wasi_http::p3::bindings::http::types as p3;
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView as _};

use super::limits;
use crate::guest::Guest;

/// A part of a target, as a guest gives it.
pub(super) trait Part: ComponentType + Lift + Send + Sync + 'static {
    /// Bytes that a guest chose.
    fn length(&self) -> usize;
}

/// What a guest is told of a part.
type Set = wasmtime::Result<Result<(), ()>>;

/// Puts one that has a limit in place of a function that sets a part.
///
/// # Errors
/// When there is none, which is a defect of ours.
pub(super) fn add_setter<R, P>(
    types: &mut LinkerInstance<'_, Guest>,
    name: &str,
    set: fn(&mut WasiHttpCtxView<'_>, Resource<R>, P) -> Set,
) -> wasmtime::Result<()>
where
    R: 'static,
    P: Part,
{
    types.func_wrap(
        name,
        move |mut store: StoreContextMut<'_, Guest>, (request, part): (Resource<R>, P)| {
            if part.length() > limits::TARGET {
                return Ok((Err(()),));
            }
            Ok((set(&mut store.data_mut().http(), request, part)?,))
        },
    )
}

/// Bytes that a guest named in a resource.
pub(super) fn length_in(resource: &(dyn Any + Send)) -> usize {
    if let Some(request) = resource.downcast_ref::<p2::OutgoingRequest>() {
        request.method.length()
            + request.scheme.length()
            + request.authority.length()
            + request.path_with_query.length()
    } else if let Some(request) = resource.downcast_ref::<p3::Request>() {
        request.method.as_str().len()
            + request.scheme.as_ref().map_or(0, |it| it.as_str().len())
            + request.authority.as_ref().map_or(0, |it| it.as_str().len())
            + (request.path_with_query.as_ref()).map_or(0, |it| it.as_str().len())
    } else {
        0
    }
}

// === impl Part ===

impl Part for Option<String> {
    fn length(&self) -> usize {
        self.as_ref().map_or(0, String::len)
    }
}

macro_rules! parts {
    ($types:ident) => {
        impl Part for $types::Method {
            fn length(&self) -> usize {
                match self {
                    Self::Other(name) => name.len(),
                    _ => 0,
                }
            }
        }

        impl Part for Option<$types::Scheme> {
            fn length(&self) -> usize {
                match self {
                    Some($types::Scheme::Other(name)) => name.len(),
                    _ => 0,
                }
            }
        }
    };
}

parts!(p2);
parts!(p3);

#[cfg(test)]
mod tests {
    use wasmtime_wasi_http::FieldMap;

    use super::*;

    #[test]
    fn all_that_a_guest_names_is_counted() {
        let long = "x".repeat(60);
        let mut request = p2::OutgoingRequest {
            method: p2::Method::Other(long.clone()),
            scheme: Some(p2::Scheme::Other(long.clone())),
            authority: Some(long.clone()),
            path_with_query: Some(long.clone()),
            headers: FieldMap::default(),
            body: None,
        };
        assert_eq!(length_in(&request), 240);
        request.method = p2::Method::Get;
        request.scheme = Some(p2::Scheme::Https);
        assert_eq!(length_in(&request), 120);
        let (request, _) = p3::Request::new(
            http::Method::from_bytes(long.as_bytes()).unwrap(),
            None,
            Some(long.parse().unwrap()),
            Some(format!("/{long}").parse().unwrap()),
            FieldMap::default(),
            None,
            http_body_util::Empty::<bytes::Bytes>::new(),
        );
        assert_eq!(length_in(&request), 181);
        assert_eq!(length_in(&String::new()), 0);
    }
}

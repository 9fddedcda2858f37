//! `wasi:keyvalue@0.2.0-draft`, as wasmCloud and wasmtime have it: cursors and counters are u64, and
//! there is no `cas`.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::{Bucket, Failure};
use crate::guest::Guest;
use bindings::wasi::keyvalue::{atomics, batch, store};

/// The names under which components ask for it.
pub(super) const INTERFACES: [&str; 3] = [
    "wasi:keyvalue/store@0.2.0-draft",
    "wasi:keyvalue/atomics@0.2.0-draft",
    "wasi:keyvalue/batch@0.2.0-draft",
];

#[expect(clippy::error_impl_error, reason = "the interface calls it so")]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package wasi:keyvalue@0.2.0-draft;

            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<u64> }
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<u64>) -> result<key-response, error>;
                }
                open: func(identifier: string) -> result<bucket, error>;
            }

            interface atomics {
                use store.{bucket, error};
                increment: func(bucket: borrow<bucket>, key: string, delta: u64)
                    -> result<u64, error>;
            }

            interface batch {
                use store.{bucket, error};
                get-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<list<option<tuple<string, list<u8>>>>, error>;
                set-many: func(bucket: borrow<bucket>, key-values: list<tuple<string, list<u8>>>)
                    -> result<_, error>;
                delete-many: func(bucket: borrow<bucket>, keys: list<string>)
                    -> result<_, error>;
            }

            world imports { import store; import atomics; import batch; }
        ",
        with: { "wasi:keyvalue/store.bucket": crate::wasi::keyvalue::bucket::Bucket },
        trappable_error_type: { "wasi:keyvalue/store.error" => super::Failure },
        imports: { default: async | trappable },
        require_store_data_send: true,
    });
}

/// Adds the three interfaces.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    atomics::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)?;
    batch::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, Failure> {
        self.open_bucket(&identifier).await
    }

    fn convert_error(&mut self, failure: Failure) -> wasmtime::Result<store::Error> {
        match failure {
            Failure::NoSuchStore => Ok(store::Error::NoSuchStore),
            Failure::AccessDenied => Ok(store::Error::AccessDenied),
            Failure::Other(why) => Ok(store::Error::Other(why)),
            Failure::Trap(error) => Err(error),
        }
    }
}

impl store::HostBucket for Guest {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Failure> {
        self.bucket(&bucket)?.get(key).await
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Failure> {
        self.bucket(&bucket)?.set(key, value).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), Failure> {
        self.bucket(&bucket)?.delete(key).await
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, Failure> {
        self.bucket(&bucket)?.exists(key).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse, Failure> {
        let (keys, cursor) = self.bucket(&bucket)?.list(cursor).await?;
        Ok(store::KeyResponse { keys, cursor })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.close_bucket(bucket)
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<u64, Failure> {
        let range = 0..=i128::from(u64::MAX);
        let bucket = self.bucket(&bucket)?;
        let count = bucket.increment(key, delta.into(), range).await?;
        u64::try_from(count).map_err(|error| Failure::Trap(error.into()))
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Failure> {
        self.bucket(&bucket)?.get_many(keys).await
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Failure> {
        self.bucket(&bucket)?.set_many(key_values).await
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<(), Failure> {
        self.bucket(&bucket)?.delete_many(keys).await
    }
}

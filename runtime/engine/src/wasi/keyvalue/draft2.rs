//! `wasi:keyvalue@0.2.0-draft2`, as Spin has it: cursors are text, counters have a sign, and there is
//! `cas`.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::{Bucket, Cas, Failure};
use crate::guest::Guest;
use bindings::wasi::keyvalue::{atomics, batch, store};

/// The names under which components ask for it.
pub(super) const INTERFACES: [&str; 3] = [
    "wasi:keyvalue/store@0.2.0-draft2",
    "wasi:keyvalue/atomics@0.2.0-draft2",
    "wasi:keyvalue/batch@0.2.0-draft2",
];

#[expect(clippy::error_impl_error, reason = "the interface calls it so")]
mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package wasi:keyvalue@0.2.0-draft2;

            interface store {
                variant error { no-such-store, access-denied, other(string) }
                record key-response { keys: list<string>, cursor: option<string> }
                resource bucket {
                    get: func(key: string) -> result<option<list<u8>>, error>;
                    set: func(key: string, value: list<u8>) -> result<_, error>;
                    delete: func(key: string) -> result<_, error>;
                    exists: func(key: string) -> result<bool, error>;
                    list-keys: func(cursor: option<string>) -> result<key-response, error>;
                }
                open: func(identifier: string) -> result<bucket, error>;
            }

            interface atomics {
                use store.{bucket, error};
                variant cas-error { store-error(error), cas-failed(cas) }
                resource cas {
                    new: static func(bucket: borrow<bucket>, key: string) -> result<cas, error>;
                    current: func() -> result<option<list<u8>>, error>;
                }
                increment: func(bucket: borrow<bucket>, key: string, delta: s64)
                    -> result<s64, error>;
                swap: func(cas: cas, value: list<u8>) -> result<_, cas-error>;
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
        with: {
            "wasi:keyvalue/store.bucket": crate::wasi::keyvalue::bucket::Bucket,
            "wasi:keyvalue/atomics.cas": crate::wasi::keyvalue::bucket::Cas,
        },
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
        cursor: Option<String>,
    ) -> Result<store::KeyResponse, Failure> {
        let cursor = cursor.as_deref().map(position).transpose()?;
        let (keys, cursor) = self.bucket(&bucket)?.list(cursor).await?;
        let cursor = cursor.map(|position| position.to_string());
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
        delta: i64,
    ) -> Result<i64, Failure> {
        let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
        let bucket = self.bucket(&bucket)?;
        let count = bucket.increment(key, delta.into(), range).await?;
        i64::try_from(count).map_err(|error| Failure::Trap(error.into()))
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let failed = match self.take_cas(cas)?.swap(value).await {
            Ok(None) => return Ok(Ok(())),
            Ok(Some(next)) => self.keep_cas(next),
            Err(failure) => Err(failure),
        };
        Ok(Err(match failed {
            Ok(next) => atomics::CasError::CasFailed(next),
            Err(failure) => {
                let error = store::Host::convert_error(self, failure)?;
                atomics::CasError::StoreError(error)
            }
        }))
    }
}

impl atomics::HostCas for Guest {
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Resource<Cas>, Failure> {
        let bucket = self.bucket(&bucket)?;
        let files = self.files.clone();
        let held = files.held(key.len()).await;
        let cas = Cas::new(bucket, key, held).await?;
        self.keep_cas(cas)
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Result<Option<Vec<u8>>, Failure> {
        let mut seen = self.table.get(&cas)?.again();
        let value = seen.look().await?;
        *self.table.get_mut(&cas)? = seen;
        Ok(value)
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.take_cas(cas)?;
        Ok(())
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

/// Where a cursor stands. Errors: other, for text that no answer gave.
fn position(cursor: &str) -> Result<u64, Failure> {
    cursor.parse().map_err(|_| {
        Failure::Other("the cursor is none: give what list-keys has answered, or none".to_owned())
    })
}

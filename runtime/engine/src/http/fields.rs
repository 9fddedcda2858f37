//! Header fields that guests make the host hold, and pieces of bodies, charged to their containers.
//!
//! A charge lies in the bytes themselves, and so goes wherever these go: from the guest's own object
//! into a request, from there to hyper, and back to the account once the last of them lets go.
//! wasmtime-wasi-http makes the values itself; the four functions that make any are ours.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Frame, SizeHint};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, Resource, ResourceTableError};
use wasmtime_wasi_http::{FieldMap, FieldMapError, WasiHttpHooks as _};

use super::{Http, limits};
use crate::account::{Account, Held, OutOfMemory};
use crate::guest::Guest;

/// Bytes that a field takes beside its name and value: its place in a table that is half empty, and
/// what its allocations take.
const ENTRY: usize = 256;

/// Bytes with what they cost.
struct Paid<B> {
    bytes: B,
    _held: Held,
}

/// A body from outside, whose pieces and trailers are charged.
pub(super) struct ChargedBody<B> {
    body: B,
    account: Arc<Account>,
    /// What trailers without a value cost.
    trailers: Option<Held>,
}

/// Why fields stay as they are.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// The guest is told.
    #[error(transparent)]
    Fields(#[from] FieldMapError),
    #[error(transparent)]
    Memory(#[from] OutOfMemory),
    #[error(transparent)]
    Table(#[from] ResourceTableError),
}

/// Puts ours in place of those functions of `wasi:http/types` that make values. Each version has its
/// own name for what is wrong with them.
///
/// # Errors
/// When there are none, which is a defect of ours.
pub(super) fn add_to<E>(
    linker: &mut Linker<Guest>,
    interface: &str,
    named: fn(FieldMapError) -> wasmtime::Result<E>,
) -> wasmtime::Result<()>
where
    E: ComponentType + Lower + Send + Sync + 'static,
{
    type Store<'a> = StoreContextMut<'a, Guest>;
    type Fields = Resource<FieldMap>;
    linker.allow_shadowing(true);
    let mut types = linker.instance(interface)?;
    types.func_wrap(
        "[static]fields.from-list",
        move |mut store: Store<'_>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            settle(from_list(store.data_mut(), entries), named)
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        move |mut store: Store<'_>, (fields, name, value): (Fields, String, Vec<u8>)| {
            settle(append(store.data_mut(), &fields, &name, value), named)
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        move |mut store: Store<'_>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            settle(set(store.data_mut(), &fields, &name, values), named)
        },
    )?;
    types.func_wrap(
        "[method]fields.clone",
        |mut store: Store<'_>, (fields,): (Fields,)| {
            let copy = clone(store.data_mut(), &fields);
            Ok((copy.map_err(trap)?,))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What a guest is told; what it is not told traps.
fn settle<T, E>(
    done: Result<T, Refusal>,
    named: fn(FieldMapError) -> wasmtime::Result<E>,
) -> wasmtime::Result<(Result<T, E>,)> {
    match done {
        Ok(done) => Ok((Ok(done),)),
        Err(Refusal::Fields(error)) => Ok((Err(named(error)?),)),
        Err(refusal) => Err(trap(refusal)),
    }
}

/// The cause itself, by which the end of a container is named.
fn trap(refusal: Refusal) -> wasmtime::Error {
    match refusal {
        Refusal::Fields(error) => error.into(),
        Refusal::Memory(error) => error.into(),
        Refusal::Table(error) => error.into(),
    }
}

fn from_list(
    guest: &mut Guest,
    entries: Vec<(String, Vec<u8>)>,
) -> Result<Resource<FieldMap>, Refusal> {
    let mut map = FieldMap::new_mutable(limits::FIELDS);
    for (name, value) in entries {
        add(&mut guest.http, &mut map, &name, value)?;
    }
    Ok(guest.table.push(map)?)
}

fn append(
    guest: &mut Guest,
    fields: &Resource<FieldMap>,
    name: &str,
    value: Vec<u8>,
) -> Result<(), Refusal> {
    let map = guest.table.get_mut(fields)?;
    add(&mut guest.http, map, name, value)
}

fn add(http: &mut Http, map: &mut FieldMap, name: &str, value: Vec<u8>) -> Result<(), Refusal> {
    let name = allowed(http, name)?;
    // Which of two lengths counts would be for everybody to choose.
    if name == CONTENT_LENGTH && map.contains_key(&name) {
        return Err(FieldMapError::InvalidHeaderValue.into());
    }
    let value = checked(&http.account, &name, value)?;
    map.append_raw(name, value)?;
    Ok(())
}

fn set(
    guest: &mut Guest,
    fields: &Resource<FieldMap>,
    name: &str,
    values: Vec<Vec<u8>>,
) -> Result<(), Refusal> {
    let name = allowed(&mut guest.http, name)?;
    if name == CONTENT_LENGTH && values.len() > 1 {
        return Err(FieldMapError::InvalidHeaderValue.into());
    }
    let map = guest.table.get_mut(fields)?;
    // All of it or nothing.
    let mut changed = map.clone();
    changed.remove_all(&mut guest.http.hooks, name.as_str().to_owned())?;
    for value in values {
        let value = checked(&guest.http.account, &name, value)?;
        changed.append_raw(name.clone(), value)?;
    }
    *map = changed;
    Ok(())
}

fn clone(guest: &mut Guest, fields: &Resource<FieldMap>) -> Result<Resource<FieldMap>, Refusal> {
    let map = guest.table.get(fields)?;
    // What came from outside may be longer than what a guest makes itself.
    let mut copy = FieldMap::new_mutable(usize::MAX);
    for (name, value) in map.iter() {
        let mut copied = held(&guest.http.account, name, value.as_bytes().to_vec())?;
        copied.set_sensitive(value.is_sensitive());
        copy.append_raw(name.clone(), copied)?;
    }
    copy.set_mutable(limits::FIELDS);
    Ok(guest.table.push(copy)?)
}

/// A name that a guest may use.
fn allowed(http: &mut Http, name: &str) -> Result<HeaderName, FieldMapError> {
    let name = HeaderName::from_bytes(name.as_bytes());
    let name = name.map_err(|_| FieldMapError::InvalidHeaderName)?;
    if http.hooks.is_forbidden_header(&name) {
        return Err(FieldMapError::Forbidden);
    }
    Ok(name)
}

/// A value of a guest's own.
fn checked(
    account: &Arc<Account>,
    name: &HeaderName,
    value: Vec<u8>,
) -> Result<HeaderValue, Refusal> {
    if value.len() > limits::FIELDS {
        return Err(FieldMapError::TotalSizeTooBig.into());
    }
    let value = match *name == CONTENT_LENGTH {
        true => length(&value).ok_or(FieldMapError::InvalidHeaderValue)?,
        false => value,
    };
    held(account, name, value)
}

/// A length as RFC 9110, 8.6 has it: digits, and nothing else.
fn length(value: &[u8]) -> Option<Vec<u8>> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    let length: u64 = text.parse().ok()?;
    Some(length.to_string().into_bytes())
}

/// A value that is paid for.
fn held(account: &Arc<Account>, name: &HeaderName, value: Vec<u8>) -> Result<HeaderValue, Refusal> {
    let cost = ENTRY + name.as_str().len() + value.len();
    let bytes = paid(account, cost, value)?;
    let value = HeaderValue::from_maybe_shared(bytes);
    Ok(value.map_err(|_| FieldMapError::InvalidHeaderValue)?)
}

/// A piece of a body that is paid for.
///
/// # Errors
/// When the container may not take so much.
pub(super) fn piece(account: &Arc<Account>, bytes: Bytes) -> Result<Bytes, OutOfMemory> {
    paid(account, ENTRY + bytes.len(), bytes)
}

fn paid<B>(account: &Arc<Account>, cost: usize, bytes: B) -> Result<Bytes, OutOfMemory>
where
    B: AsRef<[u8]> + Send + 'static,
{
    let cost = u64::try_from(cost).unwrap_or(u64::MAX);
    let paid = Paid {
        bytes,
        _held: Held::of(account, cost)?,
    };
    Ok(Bytes::from_owner(paid))
}

/// Charges fields that came from outside, and so many bytes that lie beside them. Their values no
/// longer hold the buffer that they were read into. Gives the charge where there is no byte of a
/// value to hold it.
///
/// # Errors
/// When the container may not take so much.
pub(super) fn charge(
    account: &Arc<Account>,
    fields: &mut HeaderMap,
    beside: usize,
) -> Result<Option<Held>, OutOfMemory> {
    let names: usize = fields.keys().map(|name| name.as_str().len()).sum();
    let mut values = Vec::with_capacity(fields.values().map(HeaderValue::len).sum());
    for value in fields.values_mut() {
        values.extend_from_slice(value.as_bytes());
    }
    let cost = beside + names + values.len() + ENTRY * fields.len();
    if values.is_empty() {
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        return Held::of(account, cost).map(Some);
    }
    let mut values = paid(account, cost, values)?;
    for value in fields.values_mut() {
        let bytes = values.split_to(value.len());
        // They were a value before.
        if let Ok(mut same) = HeaderValue::from_maybe_shared(bytes) {
            same.set_sensitive(value.is_sensitive());
            *value = same;
        }
    }
    Ok(None)
}

// === impl Paid ===

impl<B: AsRef<[u8]>> AsRef<[u8]> for Paid<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

// === impl ChargedBody ===

impl<B> ChargedBody<B> {
    pub(super) fn new(body: B, account: Arc<Account>) -> Self {
        Self {
            body,
            account,
            trailers: None,
        }
    }

    /// Charges what has come; where it is too much, the container ends.
    fn charge(&mut self, frame: &mut Frame<Bytes>) {
        let charged = match frame.data_mut() {
            Some(data) => piece(&self.account, data.clone()).map(|paid| *data = paid),
            None => match frame.trailers_mut() {
                Some(trailers) => {
                    charge(&self.account, trailers, 0).map(|held| self.trailers = held)
                }
                None => Ok(()),
            },
        };
        if let Err(error) = charged {
            self.account.end_all(&error.exit());
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ChargedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut frame {
            self.charge(frame);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};
    use model::runtime::Limits;

    use super::*;

    fn account(memory: u64) -> Arc<Account> {
        Arc::new(Account::new(Limits {
            cpu_weight: 500,
            cpu_limit: None,
            memory: Some(memory),
            storage: None,
        }))
    }

    #[test]
    fn a_value_is_charged_as_long_as_anybody_holds_it() {
        let account = account(1000);
        let name = HeaderName::from_static("x-some");
        let value = held(&account, &name, b"value".to_vec()).unwrap();
        let charged = account.stats().memory;
        assert_eq!(charged, u64::try_from(ENTRY + 11).unwrap());
        let other = value.clone();
        drop(value);
        assert_eq!(account.stats().memory, charged);
        let refused = held(&account, &name, vec![b'v'; 1000]);
        assert!(matches!(refused, Err(Refusal::Memory(_))));
        let invalid = held(&account, &name, b"line\nbreak".to_vec());
        assert!(matches!(invalid, Err(Refusal::Fields(_))));
        drop(other);
        assert_eq!(account.stats().memory, 0);
    }

    #[test]
    fn a_head_from_outside_is_the_same_and_charged() {
        let account = account(10_000);
        let mut fields = HeaderMap::new();
        for (name, value) in [("x-a", "one"), ("x-b", ""), ("x-a", "three")] {
            fields.append(name, HeaderValue::from_static(value));
        }
        let before = fields.clone();
        assert!(charge(&account, &mut fields, 100).unwrap().is_none());
        assert_eq!(fields, before);
        let wanted = u64::try_from(100 + 3 * ENTRY + 6 + 8).unwrap();
        assert_eq!(account.stats().memory, wanted);
        let kept = fields.remove("x-a").unwrap();
        drop(fields);
        assert_eq!(account.stats().memory, wanted, "one part holds the whole");
        drop(kept);
        assert_eq!(account.stats().memory, 0);
        assert!(charge(&account, &mut before.clone(), 10_000).is_err());
    }

    #[test]
    fn a_head_without_a_value_is_charged_too() {
        let account = account(10_000);
        for (names, beside) in [(&["x-a", "x-b"][..], 100), (&[], 100), (&[], 0)] {
            let mut fields = HeaderMap::new();
            for name in names {
                fields.append(*name, HeaderValue::from_static(""));
            }
            let held = charge(&account, &mut fields, beside).unwrap();
            let wanted = beside + names.len() * (ENTRY + 3);
            let charged = account.stats().memory;
            assert_eq!(charged, u64::try_from(wanted).unwrap(), "{names:?}");
            drop(held);
            assert_eq!(account.stats().memory, 0, "{names:?}");
        }
    }

    #[tokio::test]
    async fn a_piece_of_a_body_is_charged_until_nobody_holds_it() {
        let account = account(10_000);
        let body = Full::new(Bytes::from(vec![b'p'; 1000]));
        let mut body = ChargedBody::new(body, Arc::clone(&account));
        let mut data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let cost = u64::try_from(ENTRY + 1000).unwrap();
        assert_eq!(account.stats().memory, cost);
        let kept = data.split_to(1);
        drop((data, body));
        assert_eq!(account.stats().memory, cost);
        drop(kept);
        assert_eq!(account.stats().memory, 0);
        assert!(piece(&account, Bytes::from(vec![0; 10_000])).is_err());
    }

    #[test]
    fn a_length_is_digits() {
        for (value, wanted) in [
            ("12", Some("12")),
            ("012", Some("12")),
            ("", None),
            ("+1", None),
            ("1 ", None),
            ("18446744073709551616", None),
        ] {
            let told = length(value.as_bytes());
            assert_eq!(told.as_deref(), wanted.map(str::as_bytes), "{value:?}");
        }
    }
}

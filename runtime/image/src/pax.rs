//! PAX headers of tar archives: what they say of the entry after them.
//!
//! A value may have any bytes. The library takes a newline, which those of files' attributes have, for the
//! end of it.

/// What one record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// The records of a header; nothing for one that cannot be read, which is the last.
pub(crate) fn records(mut left: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    std::iter::from_fn(move || {
        if left.is_empty() {
            return None;
        }
        let first = first(left);
        left = first.map_or(&[], |(_, rest)| rest);
        Some(first.map(|(record, _)| record))
    })
}

/// The first record, `LENGTH KEY=VALUE` and a newline, and what comes after it.
fn first(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let digits = bytes.split(|byte| *byte == b' ').next()?;
    let length = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(digits.len() + 1..)?.strip_suffix(b"\n")?;
    let mut halves = record.splitn(2, |byte| *byte == b'=');
    let (key, value) = (halves.next()?, halves.next()?);
    Some((Record { key, value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_any_bytes() {
        let read = |bytes: &'static [u8]| -> Vec<_> {
            let pairs = records(bytes).map(|it| it.map(|it| (it.key, it.value)));
            pairs.collect()
        };
        let a = Some((&b"a"[..], &b"9 b=1\n="[..]));
        assert_eq!(read(b"13 a=9 b=1\n=\n6 c=d\n"), [a, Some((b"c", b"d"))]);
        for wrong in [
            &b"7 c=d\n"[..],
            b"5 c=d\n",
            b"6 c-d\n",
            b"6 c=dd",
            b"1 \n",
            b"0 c=d\n",
            b"-6 c=d\n",
            b"99999999999999999999 c=d\n",
            b"c=d\n",
            b"\n",
        ] {
            assert_eq!(read(wrong), [None], "{wrong:?}");
        }
    }
}

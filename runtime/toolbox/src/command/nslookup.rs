//! nslookup: the addresses of a name, as programs in this pod get them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::ToSocketAddrs as _;

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("")?;
    let name = options.one("")?;
    if name.is_empty() {
        return Err(Failure::usage("name a host"));
    }
    let addresses = (name, 0)
        .to_socket_addrs()
        .map_err(|error| Failure::at(name, &error))?;
    let addresses: BTreeSet<_> = addresses.map(|address| address.ip()).collect();
    writeln!(&call.streams.out, "Name: {name}")?;
    for address in addresses {
        writeln!(&call.streams.out, "Address: {address}")?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn an_address_is_its_own_name() {
        let room = Room::new();
        room.check(&[(
            "nslookup 127.0.0.1",
            "",
            "Name: 127.0.0.1\nAddress: 127.0.0.1\n",
        )]);
        assert_eq!(room.run(&["nslookup"]).code, 2);
    }
}

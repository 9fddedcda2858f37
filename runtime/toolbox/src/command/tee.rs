//! tee: input to files and on.

use std::io::{Read as _, Write as _};

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let options = call.options("a,append")?;
    let open = |name: &String| {
        call.session
            .write(name, options.has("a"))
            .map_err(|error| Failure::at(name, &error))
    };
    let files = options
        .operands
        .iter()
        .map(open)
        .collect::<Result<Vec<_>, _>>()?;
    let mut input = &call.streams.input;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = input.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..length).filter(|chunk| !chunk.is_empty()) else {
            break;
        };
        for mut out in files.iter().chain([&call.streams.out]) {
            out.write_all(chunk)?;
        }
    }
    for mut file in &files {
        file.flush()?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn input_goes_both_ways() {
        let room = Room::new();
        room.check(&[("tee a b", "x\n", "x\n"), ("tee -a a", "y\n", "y\n")]);
        assert_eq!(
            (room.read("a"), room.read("b")),
            ("x\ny\n".to_owned(), "x\n".to_owned())
        );
        assert_eq!(room.run(&["tee", "none/x"]).code, 1);
    }
}

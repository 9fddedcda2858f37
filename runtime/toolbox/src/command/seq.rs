//! seq: numbers.

use std::io::Write as _;

use crate::call::{Call, Failure, Outcome};

pub(crate) fn run(call: &Call<'_>) -> Outcome {
    let number = |text: &String| {
        text.parse::<i64>()
            .map_err(|_| Failure::usage(format!("{text}: not a whole number")))
    };
    let numbers = call
        .args
        .iter()
        .map(number)
        .collect::<Result<Vec<_>, _>>()?;
    let (first, step, last) = match numbers.as_slice() {
        [last] => (1, 1, *last),
        [first, last] => (*first, 1, *last),
        [first, step, last] if *step != 0 => (*first, *step, *last),
        _ => {
            return Err(Failure::usage(
                "name a last number, a first one before it, and a step between",
            ));
        }
    };
    let mut next = Some(first);
    while let Some(number) = next.filter(|number| {
        if step > 0 {
            *number <= last
        } else {
            *number >= last
        }
    }) {
        writeln!(&call.streams.out, "{number}")?;
        next = number.checked_add(step);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use crate::command::testing::Room;

    #[test]
    fn numbers_go_up_and_down() {
        let room = Room::new();
        room.check(&[
            ("seq 3", "", "1\n2\n3\n"),
            ("seq 2 3", "", "2\n3\n"),
            ("seq 5 -2 1", "", "5\n3\n1\n"),
            ("seq 0", "", ""),
            (
                "seq 9223372036854775806 9223372036854775807",
                "",
                "9223372036854775806\n9223372036854775807\n",
            ),
        ]);
        assert_eq!(room.run(&["seq", "1", "0", "2"]).code, 2);
    }
}

//! Takes memory and never gives any back, telling how much it has. It meets its limit before the
//! end of its loop.

const MIB: usize = 1024 * 1024;

fn main() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    while hoard.len() < 1024 {
        hoard.push(vec![1; MIB]);
        if hoard.len().is_multiple_of(8) {
            println!("{} MiB taken", hoard.len());
        }
    }
}

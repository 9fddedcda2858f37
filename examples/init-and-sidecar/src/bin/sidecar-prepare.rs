//! Runs first, as an init container: writes the dictionary that the others need, and ends.

const DICTIONARY: &str = "pod Hülse\ncontainer Behälter\nvolume Band\n";

fn main() -> std::io::Result<()> {
    std::fs::write("/shared/dictionary.txt", DICTIONARY)?;
    println!("wrote {} words", DICTIONARY.lines().count());
    Ok(())
}

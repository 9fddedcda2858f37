//! Says hello to whoever its arguments name, and ends. The smallest container there is.

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let whom = if names.is_empty() {
        "world".to_owned()
    } else {
        names.join(" and ")
    };
    println!("Hello, {whom}. I am a WebAssembly container.");
}

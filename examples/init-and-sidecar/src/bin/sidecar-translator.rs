//! Runs beside the worker, as a sidecar: one word in, its translation out, on localhost:7000.
//!
//! It never ends by itself; the pod ends it when the worker is done.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    let dictionary = fs::read_to_string("/shared/dictionary.txt")?;
    let words: HashMap<&str, &str> = dictionary
        .lines()
        .filter_map(|l| l.split_once(' '))
        .collect();
    let listener = TcpListener::bind("127.0.0.1:7000")?;
    println!("translating {} words", words.len());
    loop {
        let (stream, _) = listener.accept()?;
        // A probe only connects and leaves: that is no reason to end.
        let _ = translate(&stream, &words);
    }
}

/// Answers one word.
fn translate(mut stream: &TcpStream, words: &HashMap<&str, &str>) -> io::Result<()> {
    let mut word = String::new();
    BufReader::new(stream).read_line(&mut word)?;
    writeln!(stream, "{}", words.get(word.trim()).copied().unwrap_or("?"))
}

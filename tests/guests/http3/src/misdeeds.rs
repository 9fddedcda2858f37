//! Everything but an answer.

use wasip3::http::types::ErrorCode;

use crate::answer::{Answer, text};
use crate::{Answered, pause};

pub(crate) async fn answer(what: &str) -> Answered {
    Ok(match what {
        "error" => return Err(ErrorCode::HttpRequestDenied),
        "early" => text(103, "hints\n"),
        "wordy" => return Err(ErrorCode::InternalError(Some("word ".repeat(100_000)))),
        "trap" => panic!("as asked"),
        "cut" => {
            let (mut answer, response) = Answer::begin(200, &[]);
            wit_bindgen::spawn_local(async move {
                answer.write(b"half of it".to_vec()).await;
                // So that it is under way.
                pause(300).await;
                panic!("before the other half");
            });
            response
        }
        "long" => {
            let (mut answer, response) = Answer::begin(200, &[("content-length", "4")]);
            wit_bindgen::spawn_local(async move {
                answer.write(b"more than that".to_vec()).await;
            });
            response
        }
        "sent" => {
            let (mut answer, response) = Answer::begin(200, &[]);
            wit_bindgen::spawn_local(async move {
                answer.write(b"sent\n".to_vec()).await;
                let Answer {
                    stream,
                    trailers,
                    sent,
                } = answer;
                drop((stream, trailers));
                println!("sent {:?}", sent.await.is_ok());
            });
            response
        }
        "stuck" => {
            // Whoever could write to it waits for it.
            let (_writer, mut reader) = wasip3::wit_stream::new::<u8>();
            reader.next().await;
            text(200, "not stuck\n")
        }
        "spin" => {
            println!("spin begins");
            loop {
                std::hint::black_box(0);
            }
        }
        "hoard" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        "exit" => std::process::exit(3),
        _ => text(404, "no such path\n"),
    })
}

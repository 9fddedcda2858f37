//! The imports of wasmpod:pod, generated from the project's WIT. Nothing here is written by hand.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "pod",
    with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    generate_all,
});

//! The imports of wasmpod:pod, generated from the project's WIT. Nothing here is written by hand.

wit_bindgen::generate!({
    path: "../../../wit",
    world: "pod-async",
    generate_all,
});

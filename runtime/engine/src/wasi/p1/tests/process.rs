//! Arguments, environment, clocks, random bytes and the end.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::wasi::p1::errno::Errno;
use wasmtime_wasi::I32Exit;

/// The strings that `NAME_get` gives, by their pointers.
async fn strings(probe: &mut Probe, name: &str) -> Vec<String> {
    probe
        .done(&format!("{name}_sizes_get"), &[i(0), i(4)])
        .await;
    let (count, size) = (probe.number(0), probe.number(4));
    probe.put(5000 + size, &[0xaa]);
    probe.done(&format!("{name}_get"), &[i(100), i(5000)]).await;
    assert_eq!(
        probe.get(5000 + size, 1),
        [0xaa],
        "written beyond the size told"
    );
    let mut strings = Vec::new();
    for n in 0..count {
        let start = probe.number(100 + 4 * n);
        let bytes = probe.get(start, (5000 + size - start) as usize);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap();
        strings.push(String::from_utf8(bytes[..end].to_vec()).unwrap());
    }
    strings
}

#[tokio::test]
async fn arguments_and_environment_arrive() {
    let pod = Pod::new();
    let start = Start {
        args: &["name", "", "zwölf"],
        env: &[("A", "1=2"), ("B", "")],
        ..Start::default()
    };
    let mut probe = pod.start(start).await;
    assert_eq!(strings(&mut probe, "args").await, ["name", "", "zwölf"]);
    assert_eq!(strings(&mut probe, "environ").await, ["A=1=2", "B="]);
    let mut bare = pod.probe().await;
    assert_eq!(strings(&mut bare, "args").await, [""; 0]);
    for (pointers, text) in [(MEMORY - 4, 5000), (100, MEMORY - 3)] {
        assert_eq!(
            probe.call("args_get", &[i(pointers), i(text)]).await,
            u32::from(Errno::Fault.number())
        );
    }
}

#[tokio::test]
async fn listeners_are_told_in_the_environment() {
    let tcp = [
        ("http", 8080, Protocol::Tcp),
        ("dns", 53, Protocol::Udp),
        ("", 9090, Protocol::Tcp),
    ];
    let pod = Pod::new();
    let env = [("LISTEN_FDS", "7"), ("X", "y"), ("LISTEN_FDNAMES", "mine")];
    let mut probe = pod
        .start(Start {
            env: &env,
            ports: &tcp,
            ..Start::default()
        })
        .await;
    assert_eq!(
        strings(&mut probe, "environ").await,
        ["X=y", "LISTEN_FDS=2", "LISTEN_FDNAMES=http:unknown"]
    );
    // Without ports there are no listeners, and the manifest's variables are its own affair.
    let mut probe = pod
        .start(Start {
            env: &env,
            ports: &tcp[1..2],
            ..Start::default()
        })
        .await;
    assert_eq!(
        strings(&mut probe, "environ").await,
        ["LISTEN_FDS=7", "X=y", "LISTEN_FDNAMES=mine"]
    );
}

#[tokio::test]
async fn a_module_that_accepts_nothing_has_no_listeners() {
    let module = module()
        .replace(r#""sock_accept""#, r#""sock_shutdown""#)
        .replace("$sock_accept", "$other");
    let module = module.replace(r#"$other (param i32 i32 i32)"#, "$other (param i32 i32)");
    let module = module.replace(
        "(call $other (local.get 0)(local.get 1)(local.get 2))",
        "(i32.const 0)",
    );
    let module = module.replacen(
        r#"(export "sock_shutdown") (param i32 i32 i32)"#,
        "(param i32 i32 i32)",
        1,
    );
    let ports = [("http", 8080, Protocol::Tcp)];
    let pod = Pod::new();
    let mut probe = pod
        .run(
            &module,
            Start {
                ports: &ports,
                ..Start::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(strings(&mut probe, "environ").await, [""; 0]);
    assert_eq!(
        probe.call("fd_fdstat_get", &[i(ROOT + 1), i(0)]).await,
        u32::from(Errno::Badf.number())
    );
}

#[tokio::test]
async fn clocks_tell_the_hosts_time_and_the_accounts() {
    let mut probe = Pod::new().probe().await;
    let before = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    probe.done("clock_time_get", &[i(0), l(0), i(0)]).await;
    assert!(u128::from(probe.long(0)) >= before.as_nanos());
    probe.done("clock_time_get", &[i(1), l(0), i(0)]).await;
    probe.done("clock_time_get", &[i(1), l(0), i(8)]).await;
    assert!(probe.long(8) >= probe.long(0));
    probe.account.charge(Duration::from_millis(5));
    for id in [2, 3] {
        probe.done("clock_time_get", &[i(id), l(0), i(0)]).await;
        assert_eq!(probe.long(0), 5_000_000);
    }
    for id in 0..4 {
        probe.done("clock_res_get", &[i(id), i(0)]).await;
        assert!(probe.long(0) > 0);
    }
    assert_eq!(
        probe.call("clock_time_get", &[i(4), l(0), i(0)]).await,
        u32::from(Errno::Inval.number())
    );
    assert_eq!(
        probe.call("clock_res_get", &[i(4), i(0)]).await,
        u32::from(Errno::Inval.number())
    );
}

#[tokio::test]
async fn random_bytes_fill_the_buffer_and_no_more() {
    let mut probe = Pod::new().probe().await;
    for length in [0_u32, 1000, 300_000] {
        probe.put(1 << 16, &vec![0; length as usize + 64]);
        probe.done("random_get", &[i(1 << 16), i(length)]).await;
        let bytes = probe.get(1 << 16, length as usize + 64);
        let (filled, beyond) = bytes.split_at(length as usize);
        assert!(
            filled.chunks_exact(64).all(|chunk| chunk != [0; 64]),
            "{length}"
        );
        assert_eq!(beyond, [0; 64], "{length}");
    }
    let outside = [i(MEMORY - 10), i(11)];
    assert_eq!(
        probe.call("random_get", &outside).await,
        u32::from(Errno::Fault.number())
    );
}

#[tokio::test]
async fn yielding_lets_others_run_once() {
    let mut probe = Pod::new().probe().await;
    let mut call = pin!(probe.call("sched_yield", &[]));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert_eq!(call.as_mut().poll(&mut cx), Poll::Ready(0));
}

#[tokio::test]
async fn exit_codes_pass_and_signals_do_not() {
    let pod = Pod::new();
    for code in [0, 1, 126, 255, u32::MAX] {
        let error = pod
            .probe()
            .await
            .try_call("proc_exit", &[i(code)])
            .await
            .unwrap_err();
        assert_eq!(
            error.downcast_ref::<I32Exit>().map(|exit| exit.0),
            Some(code.cast_signed())
        );
    }
    assert_eq!(
        pod.probe().await.call("proc_raise", &[i(9)]).await,
        u32::from(Errno::Nosys.number())
    );
}

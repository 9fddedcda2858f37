//! Who is shown which secret.

use super::*;
use crate::credentials::Auth;

#[tokio::test]
async fn a_token_is_fetched_once_and_its_server_alone_sees_the_password() {
    let tokens = Fake::start().await;
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    let realm = format!("http://{}/token", tokens.host);
    let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
    fake.intercept(move |asked| {
        (asked.header("authorization") != Some("Bearer good"))
            .then(|| Reply::new(401).with("WWW-Authenticate", &challenge))
    });
    tokens.intercept(|asked| {
        let is_known = asked.header("authorization") == Some(basic("me", "pw").as_str());
        let body: &[u8] = if is_known {
            br#"{"token": "good"}"#
        } else {
            br#"{"token": "bad"}"#
        };
        Some(Reply::new(200).body(body))
    });
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    puller
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    assert_eq!(tokens.count(|_| true), 1);
    assert_eq!(
        tokens.count(|asked| asked.path.contains("scope=repository%3Aapp%3Apull")),
        1
    );
    assert_eq!(
        fake.count(|asked| asked
            .header("authorization")
            .is_some_and(|it| it.starts_with("Basic"))),
        0
    );
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(
        error.contains("access denied") && error.contains("imagePullSecrets"),
        "{error}"
    );
}

#[tokio::test]
async fn a_password_is_shown_where_it_is_asked_for() {
    let fake = Fake::start().await;
    fake.artifact("app", "1", b"x");
    fake.intercept(|asked| {
        let wanted = basic("me", "pw");
        (asked.header("authorization") != Some(wanted.as_str()))
            .then(|| Reply::new(401).with("WWW-Authenticate", "Basic realm=\"r\""))
    });
    let reference = format!("{}/app:1", fake.host);
    let right = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    right.pull(&reference).await.expect("pulled");
    let wrong = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "no"));
    let error = wrong.refused(&reference).await;
    assert!(error.contains("to \"me\""), "{error}");
}

#[tokio::test]
async fn redirects_carry_no_credentials_to_another_host() {
    let storage = Fake::start().await;
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", b"content");
    let target = format!("http://{}/elsewhere", storage.host);
    let blob = format!("/blobs/{layer}");
    fake.intercept(move |asked| {
        let wanted = basic("me", "pw");
        if asked.header("authorization") != Some(wanted.as_str()) {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic"));
        }
        asked
            .path
            .ends_with(&blob)
            .then(|| Reply::new(307).with("Location", &target))
    });
    storage.intercept(|_| Some(Reply::new(200).body(b"content")));
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    puller
        .pull(&format!("{}/app:1", fake.host))
        .await
        .expect("pulled");
    assert_eq!(storage.count(|_| true), 1);
    assert_eq!(
        storage.count(|asked| asked.header("authorization").is_some()),
        0
    );
    let here = format!("http://{}/again", fake.host);
    fake.intercept(move |_| Some(Reply::new(302).with("Location", &here)));
    let error = Puller::new().refused(&format!("{}/app:1", fake.host)).await;
    assert!(error.contains("leads on"), "{error}");
}

#[tokio::test]
async fn a_host_that_was_led_to_is_told_no_secret_whatever_it_asks() {
    let (thief, storage) = (Fake::start().await, Fake::start().await);
    let fake = Fake::start().await;
    let (_, layer) = fake.artifact("app", "1", b"content");
    let realm = format!("Bearer realm=\"http://{}/token\"", thief.host);
    storage.intercept(move |_| Some(Reply::new(401).with("WWW-Authenticate", &realm)));
    let target = format!("http://{}/elsewhere", storage.host);
    let blob = format!("/blobs/{layer}");
    fake.intercept(move |asked| {
        if asked.method == "POST" {
            return Some(Reply::new(202).with("Location", &target));
        }
        let is_blob = asked.method == "GET" && asked.path.ends_with(&blob);
        is_blob.then(|| Reply::new(307).with("Location", &target))
    });
    let puller = Puller::with(Hosts::plain(), keyring(&fake.host, "me", "pw"));
    let reference = format!("{}/app:1", fake.host);
    let error = puller.refused(&reference).await;
    assert!(error.contains("access denied"), "{error}");
    let lease = puller.store.lease().expect("a lease");
    let target = testing::image(&puller.store, &lease, b"mine");
    let reference: Reference = format!("{}/mine:1", fake.host).parse().expect("one");
    puller.store.name(&reference, &target).expect("named");
    let (client, store, none) = (&puller.client, &puller.store, &Progress::none());
    let pushed = push::push(client, store, &lease, &reference, &puller.keyring, none).await;
    pushed.expect_err("refused");
    assert_eq!(thief.count(|_| true), 0);
    let is_put = |asked: &Asked| asked.method == "PUT";
    assert!(storage.count(is_put) > 0 && storage.count(|asked| !is_put(asked)) > 0);
    let is_told = |asked: &Asked| asked.header("authorization").is_some();
    assert_eq!(storage.count(is_told), 0);
}

#[tokio::test]
async fn over_http_a_secret_is_for_the_very_server_that_is_named() {
    let shown = |name: &str| {
        let (name, password) = (name.to_owned(), "pw".to_owned());
        Secret::Shown(Auth::Password { name, password })
    };
    let cases = [
        // What stands in config.json, the settings, and what the registry r.example gets.
        ("r.example", "https://r.example", shown("me")),
        ("r.example", "http://r.example", Secret::Withheld),
        ("r.example", "http://r.example:443", Secret::Withheld),
        ("http://r.example", "http://r.example", Secret::Withheld),
        ("r.example:80", "http://r.example", shown("me")),
        ("r.example:80", "https://r.example", Secret::None),
        ("r.example", "http://m.example", Secret::None),
        ("m.example", "http://m.example", Secret::Withheld),
        ("m.example:80", "http://m.example", shown("me")),
        ("m.example:5000", "http://m.example:5000", shown("me")),
        ("127.0.0.1", "http://127.0.0.1", shown("me")),
        ("localhost", "http://localhost", shown("me")),
    ];
    for (entry, server, wanted) in cases {
        let (folder, hosts) = settings("r.example", &format!("server = \"{server}\""));
        let reference: Reference = "r.example/app:1".parse().expect("a reference");
        let keyring = keyring(entry, "me", "pw");
        let [endpoint] = &hosts.endpoints("r.example").expect("endpoints")[..] else {
            panic!("one: {server}");
        };
        let found = secrets(endpoint, &reference, &keyring).await;
        let [secret] = &found.expect("found")[..] else {
            panic!("one: {server}");
        };
        assert_eq!(*secret, wanted, "{entry} at {server}");
        let (client, endpoint) = (Client::new(hosts), endpoint.clone());
        let (access, none) = (Access::Pull, Progress::none());
        let session = Session::new(client, endpoint, &reference, secret.clone(), access, none);
        let error = session.explained(RegistryError::Denied {
            url: server.to_owned(),
            who: String::new(),
            said: String::new(),
        });
        let file = folder.path().join("r.example/hosts.toml");
        let is_told = [server, &file.display().to_string(), "itself", "https://"]
            .iter()
            .all(|part| error.to_string().contains(part));
        assert_eq!(is_told, wanted == Secret::Withheld, "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_that_is_named_may_not_send_us_to_another() {
    let (fake, tokens) = (Fake::start().await, Fake::start().await);
    fake.artifact("app", "1", b"x");
    // This machine by an address that is none of loopback.
    let far = |fake: &Fake| fake.host.replace("127.0.0.1", "0.0.0.0");
    let host = far(&fake);
    let (_folder, hosts) = settings(&host, &format!("server = \"http://{host}\""));
    let puller = Puller::with(hosts, keyring(&host, "me", "pw"));
    let reference = format!("{host}/app:1");
    let wanted = basic("me", "pw");
    let challenged = |challenge: String, wanted: String| {
        move |asked: &Asked| {
            (asked.header("authorization") != Some(wanted.as_str()))
                .then(|| Reply::new(401).with("WWW-Authenticate", &challenge))
        }
    };
    fake.intercept(challenged("Basic".to_owned(), wanted));
    puller.pull(&reference).await.expect("pulled");

    tokens.intercept(|_| Some(Reply::new(200).body(br#"{"token": "good"}"#)));
    let good = "Bearer good".to_owned();
    let challenge = format!("Bearer realm=\"http://{}/token\"", far(&tokens));
    fake.intercept(challenged(challenge, good.clone()));
    let error = puller.refused(&reference).await;
    assert!(
        error.contains("without TLS") && error.contains(&host),
        "{error}"
    );
    assert_eq!(tokens.count(|_| true), 0);
    // On this machine nobody is on the way.
    let challenge = format!("Bearer realm=\"http://{}/token\"", tokens.host);
    fake.intercept(challenged(challenge, good));
    puller.pull(&reference).await.expect("pulled");
    let is_told = |asked: &Asked| asked.header("authorization").is_some();
    assert_eq!(tokens.count(is_told), 1);
}

#[test]
fn a_grant_that_is_over_is_fetched_again() {
    let now = tokio::time::Instant::now();
    let (text, other) = ("Bearer a", "Bearer b");
    let header = |text: &str| http::HeaderValue::from_str(text).expect("a header");
    let second = std::time::Duration::from_secs(1);
    let grant = |until| auth::Grant {
        header: header(text),
        until,
    };
    let cases = [
        (None, None, false),
        (Some(grant(None)), None, true),
        (Some(grant(None)), Some(other), true),
        (Some(grant(None)), Some(text), false),
        (Some(grant(Some(now + second))), None, true),
        (Some(grant(Some(now))), None, false),
        (Some(grant(Some(now))), Some(other), false),
    ];
    for (number, (grant, used, wanted)) in cases.into_iter().enumerate() {
        let used = used.map(header);
        let renewed = session::is_renewed(grant.as_ref(), used.as_ref(), now);
        assert_eq!(renewed, wanted, "case {number}");
    }
}

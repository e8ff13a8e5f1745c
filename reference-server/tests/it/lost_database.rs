//! A database host that vanishes: nothing answers on the connections to it, and nothing ends them.

use std::{future::pending, time::Duration};

use futures_util::future::join_all;
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::support::{
    client::Server,
    postgres::{Postgres, SECRET},
};

/// More than the connections of a node.
const READERS: usize = 24;
/// The time after which a reader gives up.
const PATIENCE: Duration = Duration::from_secs(3);
const TRIES: u32 = 100;

/// The connections that fall silent.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Silent {
    None,
    /// Those that are open now.
    Open,
    /// Each that carries this id to the database, from then on.
    Carriers(Uuid),
}

/// Starts a host that passes all on to a port, but on silent connections. Returns its own port.
async fn start_host(target: u16, silent: watch::Receiver<Silent>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let silent = silent.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let _ = pass(client, server, silent).await;
            });
        }
    });
    port
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    mut silent: watch::Receiver<Silent>,
) -> std::io::Result<()> {
    silent.borrow_and_update();
    let mut asked = [0; 8_192];
    let mut answered = [0; 8_192];
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let asked = &asked[..read?];
                let carried = *silent.borrow();
                if let Silent::Carriers(id) = carried
                    && asked.windows(16).any(|bytes| bytes == id.as_bytes())
                {
                    pending::<()>().await;
                }
                if asked.is_empty() {
                    return Ok(());
                }
                server.write_all(asked).await?;
            }
            read = server.read(&mut answered) => {
                let answered = &answered[..read?];
                if answered.is_empty() {
                    return Ok(());
                }
                client.write_all(answered).await?;
            }
            _ = silent.changed() => {
                if *silent.borrow_and_update() == Silent::Open {
                    pending::<()>().await;
                }
            }
        }
    }
}

/// Requests that were given up kept their connections: soon none was left.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_vanishes_takes_no_connection_of_the_node_along() {
    let postgres = Postgres::start().await;
    let direct = postgres.create().await;
    let (before, rest) = direct.rsplit_once(':').unwrap();
    let (port, database) = rest.split_once('/').unwrap();
    let (silence, silent) = watch::channel(Silent::None);
    let port = start_host(port.parse().unwrap(), silent).await;
    let server = Server::start_with(|config| {
        config.database = Some(format!("{before}:{port}/{database}").parse().unwrap());
        config.jwt_secret = Some(SECRET.parse().unwrap());
    })
    .await;
    let ada = server.register("ada").await;
    let room = server.create_room(&ada, "Engines").await;
    let path = format!("/rooms/{room}/messages");
    let read = async || server.get(&ada, &path).await.0;
    assert_eq!(read().await, StatusCode::OK);

    silence.send_replace(Silent::Open);
    assert_eq!(read().await, StatusCode::OK, "an idle connection is tested");

    silence.send_replace(Silent::Carriers(room.parse().unwrap()));
    let readers = (0..READERS).map(|_| timeout(PATIENCE, read()));
    let answers = join_all(readers).await;
    assert!(answers.iter().all(Result::is_err), "{answers:?}");

    silence.send_replace(Silent::None);
    for _ in 0..TRIES {
        if read().await == StatusCode::OK {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the connections did not come back");
}

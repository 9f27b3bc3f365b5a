//! Goal: the bounds, the order and the fairness that the pool's documentation promises. Method: jobs that tell when
//! they start and then wait to be let go; what must *not* start is read off the pool's own counts, not waited for.
use super::*;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Long enough for any machine; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits(owners: usize, extra: usize, share: usize) -> PoolLimits {
    PoolLimits { owners, extra, share, idle: Duration::from_secs(60) }
}

/// A pool, and jobs that stay where they are until they are let go.
struct Bench {
    pool: Pool,
    started: (Sender<String>, Receiver<String>),
    gates: Vec<(String, Sender<()>)>,
}

impl Bench {
    fn new(limits: PoolLimits) -> Bench {
        Bench { pool: Pool::new("test", limits), started: channel(), gates: Vec::new() }
    }

    /// Submits a job that tells its name when it starts, and ends when it is let go.
    fn submit(&mut self, owner: u64, name: impl Into<String>) {
        let name = name.into();
        let (gate, opened) = channel();
        let (started, told) = (self.started.0.clone(), name.clone());
        self.gates.push((name, gate));
        let job = move || {
            started.send(told).unwrap();
            let _ = opened.recv();
        };
        self.pool.submit(Owner(owner), Box::new(job));
    }

    fn let_go(&mut self, name: &str) {
        self.gates.retain(|(n, _)| n != name);
    }

    fn next_started(&self) -> String {
        self.started.1.recv_timeout(PATIENCE).expect("a job should have started")
    }

    fn next_started_of(&self, n: usize) -> Vec<String> {
        let mut names: Vec<String> = (0..n).map(|_| self.next_started()).collect();
        names.sort();
        names
    }

    fn running(&self) -> usize {
        let state = self.pool.shared.lock();
        state.busy_owners + state.busy_extra
    }

    fn running_of(&self, owner: u64) -> usize {
        self.pool.shared.lock().owners.get(&Owner(owner)).map_or(0, |jobs| jobs.running)
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        thread::yield_now();
    }
}

#[test]
fn sixty_four_owners_run_at_once_and_the_next_waits_for_one_of_them() {
    let mut bench = Bench::new(limits(64, 16, 8));
    for owner in 0..65 {
        bench.submit(owner, format!("{owner:02}"));
    }
    let expected: Vec<String> = (0..64).map(|owner| format!("{owner:02}")).collect();
    assert_eq!(bench.next_started_of(64), expected);
    assert_eq!((bench.running(), bench.running_of(64)), (64, 0));
    bench.let_go("17");
    assert_eq!(bench.next_started(), "64");
    assert_eq!(bench.pool.threads(), 64);
}

#[test]
fn an_owner_that_blocks_its_whole_share_delays_nobody_else() {
    let mut bench = Bench::new(limits(64, 16, 8));
    for n in 0..100 {
        bench.submit(1, format!("slow-{n}"));
    }
    assert_eq!(bench.running_of(1), 8, "an owner has its share and no more");
    bench.next_started_of(8);
    for owner in 2..65 {
        bench.submit(owner, format!("{owner}"));
        assert_eq!(bench.next_started(), format!("{owner}"));
    }
    assert_eq!(bench.pool.threads(), 8 + 63);
}

#[test]
fn many_owners_that_want_more_leave_room_for_first_jobs() {
    let mut bench = Bench::new(limits(8, 3, 4));
    for owner in 0..4 {
        for n in 0..10 {
            bench.submit(owner, format!("{owner}-{n}"));
        }
    }
    assert_eq!(bench.running(), 4 + 3, "one each and the extra threads");
    for owner in 4..8 {
        bench.submit(owner, format!("{owner}"));
        assert_eq!(bench.running_of(owner), 1);
    }
    bench.submit(8, "one too many");
    assert_eq!(bench.running_of(8), 0);
    bench.next_started_of(4 + 3 + 4);
    assert_eq!(bench.pool.threads(), 8 + 3);
}

#[test]
fn jobs_of_an_owner_start_in_order_and_owners_take_turns() {
    let mut bench = Bench::new(limits(1, 0, 8));
    for (owner, name) in [(1, "a1"), (1, "a2"), (1, "a3"), (2, "b1"), (2, "b2"), (3, "c1")] {
        bench.submit(owner, name);
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let name = bench.next_started();
        assert_eq!(bench.running(), 1);
        bench.let_go(&name);
        order.push(name);
    }
    assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
    assert_eq!(bench.pool.threads(), 1, "one thread did it all");
    wait_until("nothing is remembered of owners without jobs", || bench.pool.shared.lock().owners.is_empty());
}

#[test]
fn extra_threads_are_shared_in_turns_too() {
    let mut bench = Bench::new(limits(2, 1, 8));
    for name in ["a1", "a2", "a3", "a4"] {
        bench.submit(1, name);
    }
    for name in ["b1", "b2"] {
        bench.submit(2, name);
    }
    assert_eq!(bench.next_started_of(3), ["a1", "a2", "b1"]);
    let mut order = Vec::new();
    for name in ["a2", "a3", "b2"] {
        bench.let_go(name);
        order.push(bench.next_started());
    }
    assert_eq!(order, ["a3", "b2", "a4"]);
}

#[test]
fn threads_end_when_idle_and_start_again() {
    let mut bench = Bench::new(PoolLimits { idle: Duration::from_millis(5), ..limits(8, 0, 1) });
    assert_eq!(bench.pool.threads(), 0, "a pool begins without threads");
    for round in 0..3 {
        for owner in 0..8 {
            bench.submit(owner, format!("{round}-{owner}"));
        }
        bench.next_started_of(8);
        assert_eq!(bench.pool.threads(), 8);
        bench.gates.clear();
        wait_until("idle threads end", || bench.pool.threads() == 0);
    }
}

#[test]
fn a_panic_costs_neither_a_thread_nor_a_place() {
    let mut bench = Bench::new(limits(1, 0, 1));
    for _ in 0..5 {
        bench.pool.submit(Owner(1), Box::new(|| panic!("on purpose")));
    }
    bench.submit(1, "after");
    assert_eq!(bench.next_started(), "after");
    assert_eq!((bench.running(), bench.pool.threads()), (1, 1));
}

#[test]
fn a_dropped_pool_runs_what_it_was_given_and_then_ends() {
    let mut bench = Bench::new(limits(2, 0, 1));
    for n in 0..6 {
        bench.submit(n, format!("{n}"));
    }
    bench.next_started_of(2);
    let Bench { pool, started, gates } = bench;
    let shared = Arc::downgrade(&pool.shared);
    drop((pool, gates));
    for _ in 0..4 {
        started.1.recv_timeout(PATIENCE).expect("a job that waited is run");
    }
    wait_until("no thread holds on to the pool", || shared.strong_count() == 0);
}

#[test]
fn free_threads_end_when_the_pool_is_dropped() {
    let mut bench = Bench::new(limits(4, 0, 1));
    for n in 0..4 {
        bench.submit(n, format!("{n}"));
    }
    bench.next_started_of(4);
    bench.gates.clear();
    wait_until("the threads are free", || bench.pool.shared.lock().free.len() == 4);
    let shared = Arc::downgrade(&bench.pool.shared);
    drop(bench);
    wait_until("no thread holds on to the pool", || shared.strong_count() == 0);
}

#[test]
fn in_a_storm_every_job_runs_once_and_no_bound_is_passed() {
    const OWNERS: u64 = 10;
    const JOBS: usize = 2_000;
    // Threads leave and come back all the time.
    let limits = PoolLimits { idle: Duration::from_micros(50), ..limits(4, 2, 3) };
    let pool = Arc::new(Pool::new("storm", limits));
    // Jobs that run now: of each owner, and at the end of all.
    let running: Arc<Vec<AtomicUsize>> = Arc::new((0..=OWNERS).map(|_| AtomicUsize::new(0)).collect());
    let (done, all_done) = channel();
    thread::scope(|scope| {
        for submitter in 0..2 {
            let (pool, running, done) = (&pool, &running, done.clone());
            scope.spawn(move || {
                for n in 0..JOBS {
                    let owner = (n as u64).wrapping_mul(2_654_435_761) >> 7;
                    let owner = (owner + submitter) % OWNERS;
                    let (running, done) = (Arc::clone(running), done.clone());
                    let job = move || {
                        let mine = running[owner as usize].fetch_add(1, Ordering::SeqCst) + 1;
                        let all = running[OWNERS as usize].fetch_add(1, Ordering::SeqCst) + 1;
                        thread::yield_now();
                        running[owner as usize].fetch_sub(1, Ordering::SeqCst);
                        running[OWNERS as usize].fetch_sub(1, Ordering::SeqCst);
                        done.send(mine <= limits.share && all <= limits.owners + limits.extra).unwrap();
                    };
                    pool.submit(Owner(owner), Box::new(job));
                    assert!(pool.threads() <= limits.owners + limits.extra);
                    if n % 64 == 0 {
                        thread::sleep(Duration::from_micros(100));
                    }
                }
            });
        }
    });
    for _ in 0..2 * JOBS {
        assert!(all_done.recv_timeout(PATIENCE).expect("no job is lost"), "a bound was passed");
    }
    wait_until("all threads end", || pool.threads() == 0);
    let state = pool.shared.lock();
    assert_eq!((state.busy_owners, state.busy_extra, state.owners.len()), (0, 0, 0));
    assert!(state.first.is_empty() && state.more.is_empty() && state.free.is_empty());
}

//! Tests of the time of verdicts, with clocks that are set.

use super::*;

const DAY: i64 = 86_400;
/// The right time when the machine is started first.
const START: i64 = 1_800_000_000;

/// A machine with a clock that may be wrong.
struct Machine {
    /// The right time.
    right: i64,
    /// When it was started.
    started: i64,
    boots: u32,
    /// By how much the wall clock is ahead.
    wrong: i64,
    kept: Option<Reckoning>,
    last: Option<i64>,
    watch: Watch,
}

impl Machine {
    fn new(wrong: i64) -> Machine {
        let watch = Watch::new(Reckoning::alone(Reading { running: 0, wall: 0 }));
        let mut machine = Machine {
            right: START,
            started: START,
            boots: 0,
            wrong,
            kept: None,
            last: None,
            watch,
        };
        assert_eq!(machine.open(), None);
        machine
    }

    fn reading(&self) -> Reading {
        Reading { running: self.right - self.started, wall: (self.right + self.wrong).max(0) }
    }

    /// Another process opens the file.
    fn open(&mut self) -> Option<Remark> {
        let (kept, last) = (self.kept.clone(), self.last);
        let boot = format!("boot {}", self.boots);
        let (reckoning, remark) = Reckoning::begin(kept, last, &boot, self.reading());
        // What is kept is read again.
        self.kept = Reckoning::from_text(&reckoning.to_text());
        assert_eq!(self.kept.as_ref(), Some(&reckoning));
        self.watch = Watch::new(reckoning);
        self.last = Some(self.time());
        remark
    }

    fn time(&self) -> i64 {
        i64::try_from(self.watch.reckoning().time(self.reading()).0).unwrap()
    }

    /// The process works for so long, and uses the file all the while.
    fn work(&mut self, seconds: i64) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let end = self.right + seconds;
        while self.right < end {
            self.right = (self.right + 3).min(end);
            let (news, remark) = self.watch.look(self.reading());
            if news {
                self.kept = Some(self.watch.reckoning().clone());
            }
            remarks.extend(remark);
        }
        self.last = Some(self.time());
        remarks
    }

    /// It is off for so long, and its clock is then ahead by so much.
    fn off(&mut self, seconds: i64, wrong: i64) -> Option<Remark> {
        self.right += seconds;
        self.started = self.right - 20;
        self.boots += 1;
        self.wrong = wrong;
        self.open()
    }
}

const JUMPS: [i64; 9] = [1, -1, 10, -3_600, 3_600, -DAY, DAY, 3_650 * DAY, -3_650 * DAY];

#[test]
fn whatever_becomes_of_the_wall_clock_the_time_goes_on_as_it_did() {
    for jump in JUMPS {
        let mut machine = Machine::new(0);
        machine.work(100);
        let begin = machine.time();
        assert_eq!(begin, START + 100);
        for (wrong, span) in [(jump, 50), (0, 50), (jump, 2_000), (-jump, 2_000), (0, 2_000)] {
            machine.wrong = wrong;
            let before = machine.time();
            assert_eq!(machine.work(span), [], "{jump}");
            assert_eq!(machine.time(), before + span, "{jump}");
            assert_eq!(machine.open(), None);
            assert_eq!(machine.time(), before + span, "another process sees the same: {jump}");
        }
    }
}

#[test]
fn what_the_machine_was_off_counts() {
    for gap in [0, 60, DAY, 30 * DAY, 399 * DAY] {
        let mut machine = Machine::new(0);
        machine.work(100);
        assert_eq!(machine.off(gap, 0), None);
        assert_eq!(machine.time(), START + 100 + gap);
    }
}

#[test]
fn what_it_was_off_counts_also_if_the_clock_was_set_before() {
    for jump in JUMPS {
        let mut machine = Machine::new(jump);
        machine.work(100);
        machine.wrong = 0;
        machine.work(2_000);
        let before = machine.time();
        assert_eq!(machine.off(DAY, 0), None, "{jump}");
        let counted = machine.time() - before;
        assert!((counted - DAY).abs() <= TOLERANCE, "{jump}: {counted}");
    }
}

#[test]
fn a_clock_without_a_battery_says_in_the_end_how_long_the_machine_was_off() {
    let mut machine = Machine::new(0);
    machine.work(100);
    // It begins in 1970.
    let remark = machine.off(5 * DAY, -(START + 100 + 5 * DAY));
    assert!(matches!(remark, Some(Remark::Wrong(gap)) if gap < -START + DAY), "{remark:?}");
    assert_eq!(machine.time(), START + 100, "no time has passed");
    assert_eq!(machine.work(30), []);
    assert_eq!(machine.open(), None, "it was said before");
    assert_eq!(machine.time(), START + 130);
    machine.wrong = 0;
    assert_eq!(machine.work(10), [Remark::Set(5 * DAY)]);
    assert_eq!(machine.time(), START + 140 + 5 * DAY, "what was off is known");
    // It does not happen twice, nor to another process.
    machine.wrong = 3 * DAY;
    assert_eq!(machine.work(1_000), []);
    assert_eq!(machine.open(), None);
    assert_eq!(machine.time(), START + 1_140 + 5 * DAY);
}

#[test]
fn a_start_in_1970_with_a_new_file_is_as_good_as_any() {
    let mut machine = Machine::new(-START);
    machine.work(100);
    assert_eq!(machine.time(), 100);
    machine.wrong = 0;
    machine.work(2_000);
    assert_eq!(machine.time(), 2_100, "nothing has expired");
    machine.off(DAY, 0);
    assert!((machine.time() - 2_100 - DAY).abs() <= TOLERANCE);
    // Off before the new clock was known for long.
    let mut machine = Machine::new(-START);
    machine.work(100);
    machine.wrong = 0;
    machine.work(100);
    assert!(matches!(machine.off(DAY, 0), Some(Remark::Wrong(_))));
    assert_eq!(machine.time(), 200);
}

#[test]
fn a_start_years_ahead_expires_nothing() {
    let mut machine = Machine::new(0);
    machine.work(100);
    let remark = machine.off(60, 3_650 * DAY);
    assert_eq!(remark, Some(Remark::Wrong(60 + 3_650 * DAY)));
    machine.work(50);
    assert_eq!(machine.time(), START + 150);
    machine.wrong = 0;
    assert_eq!(machine.work(10), [Remark::Set(60)]);
    assert_eq!(machine.time(), START + 220);
}

#[test]
fn a_clock_that_was_ahead_and_is_right_after_the_start_prolongs_nothing_but_by_what_was_off() {
    let mut machine = Machine::new(0);
    machine.wrong = DAY;
    machine.work(2_000);
    assert_eq!(machine.time(), START + 2_000);
    assert!(matches!(machine.off(60, 0), Some(Remark::Wrong(_))));
    assert_eq!(machine.time(), START + 2_000, "the minute cannot be known");
    assert_eq!(machine.work(3 * DAY), []);
    assert_eq!(machine.time(), START + 2_000 + 3 * DAY);
}

#[test]
fn a_machine_that_goes_on_from_a_copy_of_its_memory_asks_the_wall_clock() {
    let mut machine = Machine::new(0);
    machine.work(1_000);
    machine.started += 500;
    assert_eq!(machine.open(), None);
    assert_eq!(machine.time(), START + 1_000);
}

#[test]
fn where_runs_of_the_machine_have_no_names_the_wall_clock_is_asked_at_every_start() {
    let reading = |running| Reading { running, wall: START + running };
    let (first, _) = Reckoning::begin(None, None, "", reading(5));
    let (next, remark) = Reckoning::begin(Some(first), Some(START + 5), "", reading(7));
    assert_eq!((next.time(reading(9)), remark), (UnixTime(START as u64 + 9), None));
}

#[test]
fn stamps_by_the_wall_clock_are_reckoned_back() {
    let mut machine = Machine::new(-DAY);
    machine.wrong = 0;
    machine.work(2_000);
    let wall = UnixTime((START + 5_000) as u64);
    assert_eq!(machine.watch.reckoning().by_wall(wall), UnixTime((START + 5_000 - DAY) as u64));
    assert_eq!(machine.watch.reckoning().by_wall(UnixTime(2)), UnixTime(0));
}

#[test]
fn nonsense_in_the_file_is_no_reckoning() {
    for text in
        ["", "5", "5 6", "5 6 closed", "x 6 closed b", "5 6 ajar b", "5 9999999999999999999 open b"]
    {
        assert_eq!(Reckoning::from_text(text), None, "{text}");
    }
    let text = "-5 6 open some boot";
    assert_eq!(Reckoning::from_text(text).unwrap().to_text(), text);
}

use futures_util::FutureExt;

use super::*;

fn queue(max_calls: usize, max_waiting: usize) -> CallQueue {
    let limits = ClassLimits { max_calls, max_waiting };
    CallQueue::new(ArchiveId::parse("main").unwrap(), limits, limits, limits)
}

/// Returns the permit of the call if it has been granted.
fn granted(call: &mut QueuedCall) -> Option<CallPermit> {
    call.permit().now_or_never().map(Result::unwrap)
}

/// Joins the queue with a call that must get a permit at once.
fn begin(queue: &CallQueue, class: RequestClass, priority: &RequestPriority) -> CallPermit {
    granted(&mut queue.join(class, priority).unwrap()).unwrap()
}

#[test]
fn requests_beyond_the_length_of_the_queue_are_rejected_at_once() {
    let queue = queue(1, 2);
    let [first, second, third, fourth] = std::array::from_fn(|_| RequestPriority::of_new_request());
    let permit = begin(&queue, RequestClass::Search, &first);
    let mut waiting: Vec<_> =
        [&second, &third].map(|request| queue.join(RequestClass::Search, request).unwrap()).into();
    assert_eq!(queue.join(RequestClass::Search, &fourth).unwrap_err(), NoPermit::QueueFull);
    let further = queue.join(RequestClass::Search, &second);
    assert!(further.is_ok(), "requests count, not their calls");
    assert!(queue.join(RequestClass::Search, &first).is_ok(), "a request under way is not rejected");
    drop(further);
    drop(permit);
    let permit = granted(&mut waiting[0]).unwrap();
    assert!(queue.join(RequestClass::Search, &fourth).is_ok(), "a place is free");
    drop(permit);
    assert!(granted(&mut waiting[1]).is_some());
}

#[test]
fn calls_of_requests_under_way_go_before_those_of_new_requests() {
    let queue = queue(1, 10);
    let under_way = RequestPriority::of_new_request();
    let new = RequestPriority::of_new_request();
    let newest = RequestPriority::of_new_request();
    let permit = begin(&queue, RequestClass::Search, &newest);
    let mut calls =
        [&new, &under_way, &newest].map(|request| queue.join(RequestClass::Search, request).unwrap());
    drop(permit);
    let order: Vec<_> = (0..3)
        .map(|_| {
            let next = calls.iter_mut().position(|call| granted(call).is_some());
            next.unwrap()
        })
        .collect();
    assert_eq!(order, [2, 1, 0], "the request under way, and then the others in the order of arrival");
}

#[test]
fn a_request_with_a_quarter_of_the_permits_leaves_the_next_one_to_others() {
    let queue = queue(8, 10);
    let (large, small) = (RequestPriority::of_new_request(), RequestPriority::of_new_request());
    let mut permits: Vec<_> = (0..8).map(|_| begin(&queue, RequestClass::Search, &large)).collect();
    let mut further = queue.join(RequestClass::Search, &large).unwrap();
    let mut first = queue.join(RequestClass::Search, &small).unwrap();
    permits.pop();
    assert!(granted(&mut further).is_none());
    let small_permit = granted(&mut first).unwrap();
    permits.pop();
    assert!(granted(&mut further).is_some(), "no other request waits");
    drop(small_permit);
}

#[test]
fn abandoned_work_goes_on_only_while_no_other_call_waits() {
    let queue = queue(1, 10);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let waiter = work.wait_as(&request);
    let mut permit = begin(&queue, RequestClass::Search, &work);
    drop(waiter);
    permit = {
        drop(permit);
        begin(&queue, RequestClass::Search, &work)
    };
    let mut other = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    let mut abandoned = queue.join(RequestClass::Search, &work).unwrap();
    assert_eq!(abandoned.permit().now_or_never().unwrap().unwrap_err(), NoPermit::Abandoned);
    drop(permit);
    assert!(granted(&mut other).is_some());
}

#[test]
fn work_that_is_abandoned_while_it_waits_loses_its_place() {
    let queue = queue(1, 1);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let permit = begin(&queue, RequestClass::Search, &RequestPriority::of_new_request());
    let waiter = work.wait_as(&request);
    let mut call = queue.join(RequestClass::Search, &work).unwrap();
    drop(waiter);
    let mut next = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert_eq!(call.permit().now_or_never().unwrap().unwrap_err(), NoPermit::Abandoned);
    drop(permit);
    assert!(granted(&mut next).is_some());
}

/// Whether the call must end.
fn is_revoked(permit: &mut CallPermit) -> bool {
    std::future::poll_fn(|context| permit.poll_revoked(context)).now_or_never().is_some()
}

#[test]
fn abandoned_calls_in_flight_lose_their_permits_to_calls_that_wait() {
    let queue = queue(2, 10);
    let (work, request) = (RequestPriority::of_shared_work(), RequestPriority::of_new_request());
    let waiter = work.wait_as(&request);
    let mut abandoned: Vec<_> = (0..2).map(|_| begin(&queue, RequestClass::Search, &work)).collect();
    let mut first = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert!(!abandoned.iter_mut().any(is_revoked), "a client waits");
    drop(waiter);
    let mut count_revoked = || abandoned.iter_mut().map(is_revoked).filter(|revoked| *revoked).count();
    assert_eq!(count_revoked(), 1, "one call waits");
    let mut second = queue.join(RequestClass::Search, &RequestPriority::of_new_request()).unwrap();
    assert_eq!(count_revoked(), 2);
    assert!(granted(&mut first).is_none(), "the permits are not yet released");
    drop(abandoned);
    assert!(granted(&mut first).is_some() && granted(&mut second).is_some());
}

#[test]
fn a_canceled_call_passes_its_permit_on() {
    let queue = queue(1, 10);
    let [first, second, third] = std::array::from_fn(|_| RequestPriority::of_new_request());
    let permit = begin(&queue, RequestClass::Search, &first);
    let canceled = queue.join(RequestClass::Search, &second).unwrap();
    let mut last = queue.join(RequestClass::Search, &third).unwrap();
    drop(permit);
    assert!(granted(&mut last).is_none(), "the second call has the permit");
    drop(canceled);
    assert!(granted(&mut last).is_some());
}

#[test]
fn new_requests_do_not_begin_while_requests_under_way_wait_for_the_other_class() {
    let queue = queue(1, 10);
    let [first, second, new, retrieval] = std::array::from_fn(|_| RequestPriority::of_new_request());
    for request in [&first, &second] {
        drop(begin(&queue, RequestClass::Search, request));
    }
    let permit = begin(&queue, RequestClass::Metadata, &first);
    let mut bottleneck = queue.join(RequestClass::Metadata, &second).unwrap();
    let mut search = queue.join(RequestClass::Search, &new).unwrap();
    assert!(granted(&mut search).is_none());
    assert!(granted(&mut queue.join(RequestClass::Retrieve, &retrieval).unwrap()).is_some());
    drop(permit);
    assert!(granted(&mut bottleneck).is_some());
    assert!(granted(&mut search).is_some());
}

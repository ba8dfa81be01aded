// How long a scope holds, and for whom: in processes of their own, because what is tested is that scopes
// of other threads make no difference, and tests that run beside would open some.

import Dispatch
import Foundation
import LazyGrad
import Synchronization
import Testing

#if os(Linux) || os(macOS)
  /// Whether an operation recorded here keeps backward information.
  private func isTracked() -> Bool {
    let x = Tensor([1.0, 2])
    (x * 3).backward()
    return x.grad != nil
  }

  /// What the scopes say here, found out by recording.
  private func state() -> [Bool] {
    let x = NDArray([1.0, 2])
    let y = x * Tensor([3.0, 4])
    return withExtendedLifetime(y) { [isTracked(), isMemoryGuardActive, !x.isWriteable] }
  }

  /// The same for a scope across suspension points, of which there is none.
  private func stateWithoutPause() async -> [Bool] { state() }

  private let plain = [true, true, true]
  private let untracked = [false, false, false]
  private let unguarded = [true, false, false]

  /// `precondition` takes no value that has to be awaited.
  private func demand<Value: Equatable>(_ value: Value, _ expected: Value) {
    precondition(value == expected, "expected \(expected), got \(value)")
  }

  /// Something that tasks wait for.
  private final class Gate: Sendable {
    private let isOpen = Atomic<Bool>(false)

    func open() { isOpen.store(true, ordering: .releasing) }
    func wait() async {
      while !isOpen.load(ordering: .acquiring) { try? await Task.sleep(nanoseconds: 100_000) }
    }
    func block() { while !isOpen.load(ordering: .acquiring) { usleep(100) } }
  }

  /// What tasks have found out.
  private final class Found: Sendable {
    private let states = Mutex<[[Bool]]>([])

    var all: [[Bool]] { states.withLock { $0 } }
    func add(_ state: [Bool]) { states.withLock { $0.append(state) } }
  }

  /// Runs `body` beside a thread that has a scope open, and alone.
  private func besideOtherScopes(_ body: (Bool) async -> Void) async {
    precondition(LazyGradEngine.openScopes == 0)
    await body(false)
    let (opened, done, closed) = (Gate(), Gate(), Gate())
    Thread.detachNewThread {
      memGuardOff {
        opened.open()
        done.block()
      }
      closed.open()
    }
    opened.block()
    await body(true)
    done.open()
    closed.block()
  }

  /// Runs jobs at once on whatever thread brings them.
  private final class InlineExecutor: SerialExecutor {
    func enqueue(_ job: consuming ExecutorJob) {
      job.runSynchronously(on: asUnownedSerialExecutor())
    }
    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
      UnownedSerialExecutor(ordinary: self)
    }
  }

  private actor Inline {
    static let executor = InlineExecutor()
    nonisolated var unownedExecutor: UnownedSerialExecutor {
      Self.executor.asUnownedSerialExecutor()
    }
    func state() -> [Bool] { LazyGradExitTests.state() }
    func unguardedState() async -> [Bool] {
      await memGuardOff {
        await Task.yield()
        return LazyGradExitTests.state()
      }
    }
  }

  @Suite("The life of scopes")
  struct ScopeLifeTests {
    @Test("A task that outlives its scope keeps it; nobody else has it")
    func outliving() async {
      await #expect(processExitsWith: .success) {
        await besideOtherScopes { _ in
          let (gate, started) = (Gate(), Gate())
          @Sendable func later() async -> [Bool] {
            await gate.wait()
            return state()
          }
          let synchronous = noAutodiff { Task { await later() } }
          let guarding = memGuardOff { Task { await later() } }
          let nested = memGuardOff { memGuardOn { noAutodiff { Task { await later() } } } }
          let (asynchronous, detached) = await noAutodiff {
            await Task.yield()
            return (Task { await later() }, Task.detached { await later() })
          }
          // In a task that kept the scope, tasks that are started later have it as well.
          let grandchild = noAutodiff { Task { await Task { await later() }.value } }
          let inner = noAutodiff {
            Task {
              started.open()
              await gate.wait()
              return memGuardOff { state() } + state()
            }
          }
          precondition(state() == plain)
          gate.open()
          demand(await synchronous.value, untracked)
          demand(await guarding.value, unguarded)
          demand(await nested.value, untracked)
          demand(await asynchronous.value, untracked)
          demand(await detached.value, plain)
          demand(await grandchild.value, untracked)
          demand(await inner.value, untracked + untracked)
          precondition(state() == plain)
        }
      }
    }

    @Test("Scopes end: with the last task that took them along nothing is left of them")
    func counted() async {
      await #expect(processExitsWith: .success) {
        precondition(LazyGradEngine.openScopes == 0)
        let gate = Gate()
        let tasks = (0..<20).map { k in
          k % 2 == 0
            ? noAutodiff { Task { await gate.wait() } }
            : memGuardOff { Task { await noAutodiff { await gate.wait() } } }
        }
        precondition(LazyGradEngine.openScopes >= 20)
        gate.open()
        for task in tasks { await task.value }
        _ = try? catchingTensorErrors { Tensor([1.0])[3] }
        _ = softmax(Tensor([1.0, 2])).eval()
        // A task lets go of what it took along shortly after its value is there.
        for _ in 0..<2000 where LazyGradEngine.openScopes != 0 { usleep(1000) }
        precondition(LazyGradEngine.openScopes == 0)
      }
    }

    @Test("Children have the scope, other threads don't")
    func children() async {
      await #expect(processExitsWith: .success) {
        await besideOtherScopes { _ in
          await noAutodiff {
            async let child = state()
            demand(await child, untracked)
            let group = await withTaskGroup(of: [Bool].self) { group in
              for _ in 0..<3 { group.addTask { state() } }
              return await group.reduce(into: [[Bool]]()) { $0.append($1) }
            }
            precondition(group == [untracked, untracked, untracked])
          }
          let done = Gate()
          let seen = Found()
          noAutodiff {
            Thread.detachNewThread {
              seen.add(state())
              done.open()
            }
            done.block()
            // The queue runs this on the calling thread.
            precondition(DispatchQueue(label: "scopes").sync { state() } == untracked)
          }
          precondition(seen.all == [plain])
        }
      }
    }

    @Test("A task that starts at once on the thread of a scope obeys its own scopes")
    func immediate() async {
      await #expect(processExitsWith: .success) {
        await besideOtherScopes { _ in
          func check() async {
            let inner = memGuardOn {
              Task.immediate {
                let before = await noAutodiff { await stateWithoutPause() }
                let between = state()
                let after = await noAutodiff {
                  await Task.yield()
                  return state()
                }
                return [before, between, after, state()]
              }
            }
            demand(await inner.value, [untracked, plain, untracked, plain])
            let detached = noAutodiff { Task.immediateDetached { state() } }
            demand(await detached.value, plain)
            // The outer scope is what it was once the task has suspended or ended.
            noAutodiff {
              _ = Task.immediate { await memGuardOff { await Task.yield() } }
              _ = Task.immediate { memGuardOff { _ = state() } }
              precondition(state() == untracked)
            }
          }
          await check()
          await Task.detached { await check() }.value
          let done = Gate()
          Thread.detachNewThread {
            // From a thread without a task.
            let inner = memGuardOn {
              Task.immediate {
                demand(await noAutodiff { await stateWithoutPause() }, untracked)
                precondition(state() == plain)
              }
            }
            Task {
              await inner.value
              done.open()
            }
          }
          await done.wait()
        }
      }
    }

    @Test("Jobs that come by on the thread of a scope don't have it")
    func otherJobs() async {
      await #expect(processExitsWith: .success) {
        await besideOtherScopes { _ in
          // An executor that runs what it is given at once, on the thread of whoever resumes it.
          let inline = Inline()
          let gate = Gate()
          let seen = Found()
          noAutodiff {
            Task.immediateDetached {
              seen.add(await inline.state())
              seen.add(await inline.unguardedState())
              gate.open()
            }
            precondition(state() == untracked)
          }
          await gate.wait()
          precondition(seen.all == [plain, unguarded])

          let (resumed, continued) = (Gate(), Gate())
          let waiting = Mutex<CheckedContinuation<Void, Never>?>(nil)
          let job = Task.detached {
            await inline.run {
              await withCheckedContinuation { continuation in
                waiting.withLock { $0 = continuation }
                resumed.open()
              }
              return state()
            }
          }
          await resumed.wait()
          noAutodiff {
            waiting.withLock { $0 }!.resume()
            precondition(state() == untracked)
          }
          continued.open()
          demand(await job.value, plain)
        }
      }
    }

    // MARK: Errors

    @Test("While an error scope is open it gets the errors of the tasks in it")
    func errorsOfChildren() async {
      await #expect(processExitsWith: .success) {
        await besideOtherScopes { _ in
          do {
            try await catchingTensorErrors {
              let task = Task { _ = Tensor([1.0])[7] }
              await task.value
              async let child: Void = { _ = Tensor([1.0])[8] }()
              await child
            }
            preconditionFailure("no error")
          } catch { precondition("\(error)".contains("index 7")) }
          // A scope that has ended is as if it had never been: the one around it takes the error.
          do {
            try await catchingTensorErrors {
              let gate = Gate()
              let task = try catchingTensorErrors {
                Task {
                  await gate.wait()
                  precondition(Tensor([1.0])[5].item().isNaN)
                }
              }
              gate.open()
              await task.value
            }
            preconditionFailure("no error")
          } catch { precondition("\(error)".contains("index 5")) }
        }
      }
    }

    @Test(
      "In a task that outlives its error scope an error stops the program",
      arguments: [true, false])
    func errorsAfterwards(isAlone: Bool) async {
      let result =
        await
        (isAlone
        ? #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
          let gate = Gate()
          let task = try catchingTensorErrors {
            Task {
              await gate.wait()
              _ = Tensor([1.0])[9]
            }
          }
          gate.open()
          await task.value
        }
        : #expect(processExitsWith: .failure, observing: [\.standardErrorContent]) {
          let gate = Gate()
          let task = try await catchingTensorErrors {
            await Task.yield()
            return Task {
              await gate.wait()
              _ = Tensor([1.0])[9].item()
            }
          }
          let opened = Gate()
          Thread.detachNewThread {
            noAutodiff {
              opened.open()
              sleep(600)
            }
          }
          opened.block()
          gate.open()
          await task.value
        })
      let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
      #expect(text.contains("LazyGrad: subscript: index 9 is out of range"), "\(text)")
    }
  }

  extension Inline {
    fileprivate func run(_ body: @Sendable () async -> [Bool]) async -> [Bool] { await body() }
  }
#endif

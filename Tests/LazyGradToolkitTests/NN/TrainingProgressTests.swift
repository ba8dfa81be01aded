// What a training shows, with a clock and a terminal of the test's own.

import LazyGrad
import Testing

@Suite("Progress of a training")
struct TrainingProgressTests {
  private final class Screen {
    var written = ""
    var time = 0.0
    var columns = 80

    func surroundings(isTerminal: Bool) -> TrainingProgress.Surroundings {
      .init(
        isTerminal: isTerminal, columns: { self.columns }, now: { self.time },
        write: { self.written += $0 })
    }
  }

  @Test("On a terminal one line is written anew, not too often, and ended")
  func terminal() {
    let screen = Screen()
    let progress = TrainingProgress(steps: 100, screen.surroundings(isTerminal: true))
    var asked = 0
    func loss() -> Double {
      asked += 1
      return 0.5 / Double(asked)
    }
    for _ in 0..<100 {
      screen.time += 0.02
      progress.update(loss: loss(), rate: 0.001)
    }
    progress.finish()
    let lines = screen.written.split(separator: "\r\u{1B}[K").map(String.init)
    #expect(lines.first == "  1/100  loss 0.5  rate 0.001  20 ms/step  0:02 left")
    #expect(lines.last == "100/100  loss 0.02381  rate 0.001  20 ms/step  0:02 in all\n")
    // The first step, every tenth of a second, and the last step.
    #expect((18...22).contains(lines.count))
    #expect(asked == lines.count)
    #expect(screen.written.filter { $0 == "\n" }.count == 1)
    progress.finish()
    #expect(screen.written.filter { $0 == "\n" }.count == 1)
  }

  @Test("A line is cut at the terminal's width, and ends with the object")
  func narrow() {
    let screen = Screen()
    screen.columns = 12
    do {
      let progress = TrainingProgress(steps: nil, screen.surroundings(isTerminal: true))
      screen.time = 2.5
      progress.update(loss: 1, rate: 3)
      #expect(progress.step == 1)
    }
    #expect(screen.written == "\r\u{1B}[Kstep 1  los\n")
  }

  @Test("Elsewhere it is quiet, or writes whole lines every so many steps")
  func elsewhere() {
    let quiet = Screen()
    let silent = TrainingProgress(steps: 10, quiet.surroundings(isTerminal: false))
    for _ in 0..<10 { silent.update(loss: 1) }
    silent.finish()
    #expect(quiet.written == "")

    let screen = Screen()
    let progress = TrainingProgress(
      steps: 10, from: 4, logEvery: 4, screen.surroundings(isTerminal: false))
    for _ in 0..<6 {
      screen.time += 4000
      progress.update(loss: 1.0 / 3)
    }
    progress.finish()
    #expect(
      screen.written
        == " 8/10  loss 0.3333  4e+03 s/step  2:13:20 left\n10/10  loss 0.3333  4e+03 s/step  6:40:00 in all\n"
    )
  }

  @Test("Odd numbers")
  func oddNumbers() {
    let screen = Screen()
    let progress = TrainingProgress(steps: 2, logEvery: 1, screen.surroundings(isTerminal: false))
    progress.update(loss: .nan)
    screen.time = .infinity
    progress.update()
    progress.update()
    #expect(screen.written.hasPrefix("1/2  loss nan  0 ms/step  0:00 left\n2/2  "))
    #expect(progress.step == 3)
  }
}

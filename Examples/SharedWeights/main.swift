// One set of weights for many tasks: requests are answered side by side, bad ones are refused and the
// service goes on, and new weights come in while it runs.
//     swift run -c release SharedWeights

import LazyGrad

/// What the tasks share. Tensors belong to one task; snapshots of them can be sent.
struct Model: Sendable {
  let version: Int
  let hidden: TensorSnapshot
  let bias: TensorSnapshot
  let output: TensorSnapshot

  /// A perceptron with weights that its version says.
  init(version: Int) {
    self.version = version
    let scale = 0.01 * Double(version)
    hidden = (Tensor.arange(0.0, 64).reshaped(4, 16) * scale - 0.3).snapshot
    bias = Tensor.linspace(-0.5, 0.5, count: 16).snapshot
    output = (cos(Tensor.arange(0.0, 48)) * scale).reshaped(16, 3).snapshot
  }

  /// The answer to a request of 4 numbers. The tensors are this task's; the weights are nobody's copy.
  func answer(_ request: [Double]) throws -> [Double] {
    try catchingTensorErrors {
      noAutodiff {
        let x = Tensor(request)
        let h = tanh(matmul(x, Tensor(sharing: hidden)) + Tensor(sharing: bias))
        return matmul(h, Tensor(sharing: output)).elements
      }
    }
  }
}

/// Where the tasks find the weights of the moment.
actor Service {
  private var model: Model
  private(set) var served = 0

  init(_ model: Model) { self.model = model }

  /// The weights for one request, which it keeps to its end.
  func next() -> Model {
    served += 1
    return model
  }

  /// New weights for all requests from now on. Those that are being answered keep the old ones.
  func load(_ model: Model) { self.model = model }
}

/// The same answer by plain loops.
func expected(_ request: [Double], _ model: Model) throws -> [Double] {
  let hidden = try NDArray(model.hidden).elements
  let bias = try NDArray(model.bias).elements
  let output = try NDArray(model.output).elements
  var answer = [0.0, 0.0, 0.0]
  for unit in 0..<16 {
    var sum = bias[unit]
    for i in 0..<4 { sum += request[i] * hidden[i * 16 + unit] }
    let value = noAutodiff { Double(tanh(Tensor(sum))) }
    for k in 0..<3 { answer[k] += value * output[unit * 3 + k] }
  }
  return answer
}

/// What one task has done.
struct Tally: Sendable {
  var task: Int
  var answers = [0, 0]
  var refused = 0
}

/// Answers requests, every tenth of which is bad, and checks every answer.
func serve(_ service: Service, task: Int, requests: Int) async throws -> Tally {
  var tally = Tally(task: task)
  for number in 0..<requests {
    let model = await service.next()
    let length = number % 10 == 9 ? 5 : 4
    let request = (0..<length).map { Double(($0 * 7 + number * 3 + task) % 11) / 11 }
    do {
      let answer = try model.answer(request)
      let difference = zip(answer, try expected(request, model)).map { Swift.abs($0 - $1) }.max()
      precondition(length == 4 && answer.count == 3 && difference! < 1e-12, "a wrong answer")
      tally.answers[model.version - 1] += 1
    } catch let error as TensorError {
      precondition(length == 5, "a good request was refused: \(error)")
      tally.refused += 1
    }
  }
  return tally
}

let (tasks, requests) = (4, 500)
let service = Service(Model(version: 1))
let tallies = try await withThrowingTaskGroup(of: Tally.self) { group in
  for task in 0..<tasks {
    group.addTask { try await serve(service, task: task, requests: requests) }
  }
  while await service.served < tasks * requests / 2 { await Task.yield() }
  await service.load(Model(version: 2))
  var tallies: [Tally] = []
  for try await tally in group { tallies.append(tally) }
  return tallies.sorted { $0.task < $1.task }
}

/// A row of columns that are 12 characters wide.
func row(_ columns: [String]) -> String {
  columns.map { String(repeating: " ", count: max(12 - $0.count, 0)) + $0 }.joined()
}
print(row(["task", "version 1", "version 2", "refused"]))
for tally in tallies {
  print(row(["\(tally.task)", "\(tally.answers[0])", "\(tally.answers[1])", "\(tally.refused)"]))
}
let last = await service.next()
precondition(last.version == 2, "the new weights are not in use")
precondition(
  tallies.allSatisfy { $0.refused == requests / 10 && $0.answers[0] + $0.answers[1] == requests - $0.refused }
)
do {
  let w = Tensor(sharing: last.bias)
  try catchingTensorErrors { w[0] = 1.0 }
  preconditionFailure("shared weights were written")
} catch { print("\nan update in place is refused: \(error)") }

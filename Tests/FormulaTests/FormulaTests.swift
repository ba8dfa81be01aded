// Every formula gives what Swift's own arithmetic gives. That each is found out quickly by the compiler is
// what `perf/type-check.sh` says.

import Foundation
import LazyGrad
import Testing

@Suite struct FormulaTests {
  typealias Pair = (
    String, @Sendable (Formulas) -> () -> Tensor, @Sendable (PlainFormulas) -> () -> Double
  )

  static let pairs: [Pair] = [
    ("springs", Formulas.springs, PlainFormulas.springs),
    ("springsOfTensors", Formulas.springsOfTensors, PlainFormulas.springsOfTensors),
    ("pendulumEnergy", Formulas.pendulumEnergy, PlainFormulas.pendulumEnergy),
    ("pendulumForce", Formulas.pendulumForce, PlainFormulas.pendulumForce),
    ("freeFall", Formulas.freeFall, PlainFormulas.freeFall),
    ("dampedStep", Formulas.dampedStep, PlainFormulas.dampedStep),
    ("lennardJones", Formulas.lennardJones, PlainFormulas.lennardJones),
    ("threeEnergies", Formulas.threeEnergies, PlainFormulas.threeEnergies),
    ("dampedWave", Formulas.dampedWave, PlainFormulas.dampedWave),
    ("gravity", Formulas.gravity, PlainFormulas.gravity),
    ("distance", Formulas.distance, PlainFormulas.distance),
    ("pendulumPeriod", Formulas.pendulumPeriod, PlainFormulas.pendulumPeriod),
    ("planck", Formulas.planck, PlainFormulas.planck),
    ("lorentz", Formulas.lorentz, PlainFormulas.lorentz),
    ("rotation", Formulas.rotation, PlainFormulas.rotation),
    ("rungeKutta", Formulas.rungeKutta, PlainFormulas.rungeKutta),
    ("totalEnergy", Formulas.totalEnergy, PlainFormulas.totalEnergy),
    ("morse", Formulas.morse, PlainFormulas.morse),
    ("entropy", Formulas.entropy, PlainFormulas.entropy),
    ("rocket", Formulas.rocket, PlainFormulas.rocket),
    ("vanDerWaals", Formulas.vanDerWaals, PlainFormulas.vanDerWaals),
    ("frequency", Formulas.frequency, PlainFormulas.frequency),
    ("boltzmann", Formulas.boltzmann, PlainFormulas.boltzmann),
    ("logDeterminant", Formulas.logDeterminant, PlainFormulas.logDeterminant),
    ("gaussianLoss", Formulas.gaussianLoss, PlainFormulas.gaussianLoss),
    ("normalLogDensity", Formulas.normalLogDensity, PlainFormulas.normalLogDensity),
    ("normalDensity", Formulas.normalDensity, PlainFormulas.normalDensity),
    ("crossEntropy", Formulas.crossEntropy, PlainFormulas.crossEntropy),
    ("standardized", Formulas.standardized, PlainFormulas.standardized),
    ("logistic", Formulas.logistic, PlainFormulas.logistic),
    ("ridge", Formulas.ridge, PlainFormulas.ridge),
    ("divergence", Formulas.divergence, PlainFormulas.divergence),
    ("latentDivergence", Formulas.latentDivergence, PlainFormulas.latentDivergence),
    ("betaLogDensity", Formulas.betaLogDensity, PlainFormulas.betaLogDensity),
    ("poisson", Formulas.poisson, PlainFormulas.poisson),
    ("kernel", Formulas.kernel, PlainFormulas.kernel),
    ("arrays", Formulas.arrays, PlainFormulas.arrays),
    ("arrayLikelihood", Formulas.arrayLikelihood, PlainFormulas.arrayLikelihood),
    ("studentT", Formulas.studentT, PlainFormulas.studentT),
    ("covariance", Formulas.covariance, PlainFormulas.covariance),
    ("deviation", Formulas.deviation, PlainFormulas.deviation),
    ("weibull", Formulas.weibull, PlainFormulas.weibull),
    ("laplace", Formulas.laplace, PlainFormulas.laplace),
    ("innovation", Formulas.innovation, PlainFormulas.innovation),
    ("weights", Formulas.weights, PlainFormulas.weights),
    ("huber", Formulas.huber, PlainFormulas.huber),
    ("cosineDecay", Formulas.cosineDecay, PlainFormulas.cosineDecay),
    ("adaptive", Formulas.adaptive, PlainFormulas.adaptive),
    ("momentum", Formulas.momentum, PlainFormulas.momentum),
    ("secondMoment", Formulas.secondMoment, PlainFormulas.secondMoment),
    ("adam", Formulas.adam, PlainFormulas.adam),
    ("gelu", Formulas.gelu, PlainFormulas.gelu),
    ("gate", Formulas.gate, PlainFormulas.gate),
    ("attention", Formulas.attention, PlainFormulas.attention),
    ("gatedUnit", Formulas.gatedUnit, PlainFormulas.gatedUnit),
    ("leakyRelu", Formulas.leakyRelu, PlainFormulas.leakyRelu),
    ("elu", Formulas.elu, PlainFormulas.elu),
    ("normalized", Formulas.normalized, PlainFormulas.normalized),
    ("regularized", Formulas.regularized, PlainFormulas.regularized),
    ("decoupled", Formulas.decoupled, PlainFormulas.decoupled),
    ("agreement", Formulas.agreement, PlainFormulas.agreement),
    ("floats", Formulas.floats, PlainFormulas.floats),
    ("squaredError", Formulas.squaredError, PlainFormulas.squaredError),
    ("masked", Formulas.masked, PlainFormulas.masked),
    ("warmUp", Formulas.warmUp, PlainFormulas.warmUp),
    ("logSum", Formulas.logSum, PlainFormulas.logSum),
    ("signs", Formulas.signs, PlainFormulas.signs),
    ("powers", Formulas.powers, PlainFormulas.powers),
    ("smoothed", Formulas.smoothed, PlainFormulas.smoothed),
    ("polynomial", Formulas.polynomial, PlainFormulas.polynomial),
    ("corrected", Formulas.corrected, PlainFormulas.corrected),
    ("weightedSquares", Formulas.weightedSquares, PlainFormulas.weightedSquares),
    ("products", Formulas.products, PlainFormulas.products),
    ("products2", Formulas.products2, PlainFormulas.products2),
  ]

  /// Variables with a gradient for `w`.
  private func formulas() -> Formulas {
    func tensor(_ values: [Double]) -> Tensor { Tensor(values) }
    let w = tensor(Values.w)
    (w * NDArray(Values.gradient)).backward()
    return Formulas(
      x: tensor(Values.x), y: tensor(Values.y), z: tensor(Values.z), v: tensor(Values.v), w: w,
      b: tensor(Values.b), q: tensor(Values.q), mu: tensor(Values.mu),
      sigma: tensor(Values.sigma), p: tensor(Values.p), matrix: Tensor(Values.matrix),
      data: NDArray(Values.data), mask: NDArray(Values.mask))
  }

  @Test func valuesAreThoseOfPlainArithmetic() {
    #expect(Self.pairs.count >= 60)
    for (name, formula, plain) in Self.pairs {
      let formulas = formulas()
      // A use with autodiff would end the gradient that some read.
      let result = noAutodiff { formula(formulas)() }
      let values = (result.cast(to: .float64) + Tensor.zeros([3], dtype: .float64))
        .elements(as: Double.self)
      for (i, value) in values.enumerated() {
        let expected = plain(PlainFormulas(i: i))()
        #expect(abs(value - expected) <= 1e-12 * max(1, abs(expected)), "\(name)[\(i)]")
      }
    }
  }

  @Test func formulasOfNumbersAreNumbers() {
    let (update, twice) = formulas().inferred()
    #expect(update.shape == [3])
    #expect(twice == 2 * Foundation.log(2 * Double.pi))
    #expect(formulas().logOfNumbers().isFinite)
  }

  /// In Swift a sign belongs to what follows it at once, unlike in Python.
  @Test func signsComeBeforePowers() {
    let x = formulas().x
    #expect((-x ** 2).elements(as: Double.self) == (x ** 2).elements(as: Double.self))
    #expect((-(x ** 2)).elements(as: Double.self) == (x ** 2).elements(as: Double.self).map { -$0 })
  }

  @Test func recordedFormulasHaveGradients() {
    let f = formulas()
    f.springs().backward()
    for (i, gradient) in f.x.grad!.elements(as: Double.self).enumerated() {
      #expect(abs(gradient - Values.k * Values.x[i]) < 1e-12)
    }
  }
}

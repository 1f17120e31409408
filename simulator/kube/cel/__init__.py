"""The rules of a CustomResourceDefinition in CEL (`x-kubernetes-validations`); imported only where there are rules."""

"""Recipes by name; adding one is adding a file to this package."""

from app.registry import import_members
from app.training.recipes.recipe import RECIPES, Recipe

import_members(__name__, __path__)

__all__ = ["RECIPES", "Recipe"]
